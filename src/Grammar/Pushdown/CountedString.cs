namespace TpServe.Grammar.Pushdown;

/// <summary>JSON strings of Min to Max characters as an automaton whose states are computed, not stored: a place within a character, and a count.</summary>
/// <remarks>
/// Every valid spelling is accepted: raw UTF-8, short escapes, \u of a scalar value, \u pairs of surrogates; never half of a pair. A character counts
/// from its first byte on. Where there is no Max the count stops at Min.
/// Source   RFC 8259 §7, and Unicode's table 3-7 of well-formed UTF-8.
/// </remarks>
internal sealed class CountedString(int firstNode, int min, int max)
{
    /// <summary>No upper bound.</summary>
    public const int Unbounded = -1;

    /// <summary>Counts above this are too many nodes; an upper bound above it becomes this.</summary>
    public const int LargestCount = 1 << 22;

    /// <summary>Between two characters.</summary>
    public const int Boundary = 0;

    private const int Phases = 20;
    private const int Backslash = 8, FirstHex = 9, ThreeHex = 10, TwoHex = 11, OneHex = 12, AfterD = 13, HighTwo = 14, HighOne = 15, PairBackslash = 16, PairU = 17, PairD = 18, PairKind = 19;

    private const byte Rejects = 255;
    private static readonly byte[] Next = BuildTable();

    public int FirstNode { get; } = firstNode;

    public int Min { get; } = min;

    public int Max { get; } = max;

    /// <summary>Before the opening quote.</summary>
    public int Opening => FirstNode;

    /// <summary>After the closing quote.</summary>
    public int Closed => FirstNode + 1;

    /// <summary>Just after the opening quote.</summary>
    public int Inside => FirstNode + 2;

    public int Nodes => NodesOf(Min, Max);

    public static int NodesOf(int min, int max) => 2 + ((max == Unbounded ? min : max) + 1) * Phases;

    /// <summary>The next phase within a string's characters, 255 = not allowed. The quote is not among them.</summary>
    public static int NextPhase(int phase, byte value) => Next[phase * 256 + value];

    public int PhaseOf(int node) => (node - Inside) % Phases;

    public int CountOf(int node) => (node - Inside) / Phases;

    /// <summary>The node after a byte, -1 = rejected.</summary>
    public int Step(int node, byte value)
    {
        if (node == Opening)
            return value == '"' ? Inside : -1;
        if (node == Closed)
            return -1;
        int phase = PhaseOf(node), count = CountOf(node);
        if (phase == Boundary)
        {
            if (value == '"')
                return count >= Min ? Closed : -1;
            if (count == Max)
                return -1;
            count = Max == Unbounded ? Math.Min(count + 1, Min) : count + 1;
        }
        int next = NextPhase(phase, value);
        return next == Rejects ? -1 : Inside + count * Phases + next;
    }

    private static byte[] BuildTable()
    {
        byte[] next = new byte[Phases * 256];
        Array.Fill(next, Rejects);
        Set(Boundary, 0x20, 0x7F, Boundary);
        next['"'] = Rejects;
        Set(Boundary, '\\', '\\', Backslash);
        Set(Boundary, 0xC2, 0xDF, 1);
        Set(Boundary, 0xE0, 0xE0, 3);
        Set(Boundary, 0xE1, 0xEF, 2);
        Set(Boundary, 0xED, 0xED, 4);
        Set(Boundary, 0xF0, 0xF0, 6);
        Set(Boundary, 0xF1, 0xF3, 5);
        Set(Boundary, 0xF4, 0xF4, 7);
        Set(1, 0x80, 0xBF, Boundary);
        Set(2, 0x80, 0xBF, 1);
        Set(3, 0xA0, 0xBF, 1);
        Set(4, 0x80, 0x9F, 1);
        Set(5, 0x80, 0xBF, 2);
        Set(6, 0x90, 0xBF, 2);
        Set(7, 0x80, 0x8F, 2);
        foreach (char escape in "\"\\/bfnrt")
            Set(Backslash, escape, escape, Boundary);
        Set(Backslash, 'u', 'u', FirstHex);
        Hex(FirstHex, ThreeHex);
        Set(FirstHex, 'D', 'D', AfterD);
        Set(FirstHex, 'd', 'd', AfterD);
        Hex(ThreeHex, TwoHex);
        Hex(TwoHex, OneHex);
        Hex(OneHex, Boundary);
        Set(AfterD, '0', '7', TwoHex);
        Set(AfterD, '8', '9', HighTwo);
        Set(AfterD, 'A', 'B', HighTwo);
        Set(AfterD, 'a', 'b', HighTwo);
        Hex(HighTwo, HighOne);
        Hex(HighOne, PairBackslash);
        Set(PairBackslash, '\\', '\\', PairU);
        Set(PairU, 'u', 'u', PairD);
        Set(PairD, 'D', 'D', PairKind);
        Set(PairD, 'd', 'd', PairKind);
        Set(PairKind, 'C', 'F', TwoHex);
        Set(PairKind, 'c', 'f', TwoHex);
        return next;

        void Hex(int from, int to)
        {
            Set(from, '0', '9', to);
            Set(from, 'A', 'F', to);
            Set(from, 'a', 'f', to);
        }

        void Set(int from, int lo, int hi, int to)
        {
            for (int value = lo; value <= hi; value++)
                next[from * 256 + value] = (byte)to;
        }
    }
}
