namespace TpServe.Grammar.Pushdown;

/// <summary>Where a rule's caller goes on: one cell of a stack that is never changed.</summary>
internal sealed class Frame
{
    private readonly int _hash;

    public Frame(int returnTo, Frame? parent)
    {
        Return = returnTo;
        Parent = parent;
        Depth = parent is null ? 1 : parent.Depth + 1;
        _hash = HashCode.Combine(returnTo, parent is null ? 0 : parent._hash);
    }

    private Frame() => Return = -1;

    /// <summary>The bottom of a stack of which only the top is known. Returning there ends what can be said without the rest.</summary>
    public static Frame Base { get; } = new();

    public int Return { get; }

    public Frame? Parent { get; }

    public int Depth { get; }

    public static int HashOf(Frame? frame) => frame is null ? 0 : frame._hash;

    public static bool AreEqual(Frame? a, Frame? b)
    {
        while (!ReferenceEquals(a, b))
        {
            if (a is null || b is null || a._hash != b._hash || a.Return != b.Return || a.Depth != b.Depth)
                return false;
            a = a.Parent;
            b = b.Parent;
        }
        return true;
    }
}

/// <summary>One reading of the text so far: a node, and the callers of its rule.</summary>
internal readonly record struct Reading(int Node, Frame? Stack) : IComparable<Reading>
{
    public bool Equals(Reading other) => Node == other.Node && Frame.AreEqual(Stack, other.Stack);

    public override int GetHashCode() => HashCode.Combine(Node, Frame.HashOf(Stack));

    public int CompareTo(Reading other)
    {
        int byNode = Node.CompareTo(other.Node);
        return byNode != 0 ? byNode : Frame.HashOf(Stack).CompareTo(Frame.HashOf(other.Stack));
    }
}

/// <summary>All readings of the text so far. One object for equal sets while the automaton remembers it.</summary>
internal sealed class ParseState
{
    private ParseState?[]? _next; // by byte; made when first needed, since most states are never left

    public ParseState(Reading[] kernel, Reading[] active, bool accepts, bool returnsToBase, int depth)
    {
        Kernel = kernel;
        Active = active;
        Accepts = accepts;
        ReturnsToBase = returnsToBase;
        Depth = depth;
    }

    /// <summary>No reading: the text is wrong.</summary>
    public static ParseState Dead { get; } = new([], [], false, false, 0);

    /// <summary>The readings just after the last byte.</summary>
    public Reading[] Kernel { get; }

    /// <summary>What they come to without reading a byte, where a byte can be read.</summary>
    public Reading[] Active { get; }

    /// <summary>The text may end here.</summary>
    public bool Accepts { get; }

    /// <summary>Some reading has returned to <see cref="Frame.Base"/>.</summary>
    public bool ReturnsToBase { get; }

    /// <summary>The largest depth of a stack.</summary>
    public int Depth { get; }

    /// <summary>The state after a byte; null = not known yet.</summary>
    public ParseState? Known(byte value) => Volatile.Read(ref _next)?[value];

    /// <summary>Remembers the state after a byte. One thread at a time.</summary>
    public void Remember(byte value, ParseState next)
    {
        ParseState?[] table = _next ?? new ParseState?[256];
        Volatile.Write(ref table[value], next);
        Volatile.Write(ref _next, table);
    }
}
