using System.Buffers;
using System.Text;

namespace TpServe.Tokenization.Models;

/// <summary>SentencePiece's byte-pair encoding: two neighbours join where their text is a piece, the best score first, then the leftmost.</summary>
/// <remarks>
/// Numerics scores are compared as float32, as the file stores them.
/// Cost     n log n; a join is looked up by its text, which is never longer than the longest piece.
/// Source   Kudo and Richardson 2018 (SentencePiece), bpe_model.cc: user-defined pieces are cut out first, longest first, and never join;
///          unused pieces are taken apart again; unknown characters become bytes, or one unknown token for all neighbours.
/// </remarks>
internal sealed class SentencePieceModel : ITokenModel
{
    private readonly Vocabulary _mergeable;
    private readonly float[] _scores;
    private readonly HashSet<int> _unused;
    private readonly TextTrie _userDefined;
    private readonly int[] _byteIds;
    private readonly int? _unknownId;

    /// <param name="vocabulary">All pieces.</param>
    /// <param name="mergeable">The pieces that joins may make: normal, user-defined and unused ones.</param>
    /// <param name="scores">Scores by id.</param>
    /// <param name="unused">Ids that joins pass through but that are never given out.</param>
    /// <param name="userDefined">Pieces that are always one token.</param>
    /// <param name="unknownId">The token of characters without byte pieces; null = they vanish.</param>
    public SentencePieceModel(
        Vocabulary vocabulary, Vocabulary mergeable, float[] scores, HashSet<int> unused, TextTrie userDefined, int? unknownId)
    {
        Vocabulary = vocabulary;
        _mergeable = mergeable;
        _scores = scores;
        _unused = unused;
        _userDefined = userDefined;
        _unknownId = unknownId;
        _byteIds = vocabulary.ByteIds();
    }

    public Vocabulary Vocabulary { get; }

    public bool LosesNothing(bool ofBytes) => _byteIds.All(id => id >= 0); // else unknown neighbours are one token

    // A symbol is a stretch of the text; stretches form a doubly linked list, an empty one has joined its left neighbour.
    private record struct Symbol(int Start, int Length, int Previous, int Next, bool Frozen);

    private readonly record struct Join(int Left, int Right, int Length);

    // The best score first; of equal ones the leftmost.
    private readonly record struct Priority(float Score, int Left) : IComparable<Priority>
    {
        public int CompareTo(Priority other) => Score != other.Score ? other.Score.CompareTo(Score) : Left.CompareTo(other.Left);
    }

    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        if (piece.IsEmpty)
            return;
        Symbol[] symbols = ArrayPool<Symbol>.Shared.Rent(piece.Length);
        int count = Cut(piece, symbols);
        Dictionary<(int Start, int Length), int> leftLengths = []; // how an unused piece was joined: length of its left part
        JoinAll(piece, symbols.AsSpan(0, count), leftLengths);
        bool lastUnknown = false;
        for (int i = 0; i >= 0; i = symbols[i].Next)
            Give(piece, symbols[i].Start, symbols[i].Length, leftLengths, ids, ref lastUnknown);
        ArrayPool<Symbol>.Shared.Return(symbols);
    }

    private int Cut(ReadOnlySpan<char> piece, Symbol[] symbols)
    {
        int count = 0;
        for (int at = 0; at < piece.Length; count++)
        {
            int length = LongestUserDefined(piece[at..]);
            bool frozen = length > 0;
            if (!frozen)
                Rune.DecodeFromUtf16(piece[at..], out _, out length);
            symbols[count] = new(at, length, count - 1, count + 1, frozen);
            at += length;
        }
        symbols[count - 1].Next = -1;
        return count;
    }

    private int LongestUserDefined(ReadOnlySpan<char> text)
    {
        int longest = 0;
        int node = TextTrie.Root;
        for (int i = 0; i < text.Length && (node = _userDefined.Step(node, text[i])) >= 0; i++)
            if (_userDefined.ValueAt(node) >= 0)
                longest = i + 1;
        return longest;
    }

    private void JoinAll(ReadOnlySpan<char> piece, Span<Symbol> symbols, Dictionary<(int, int), int> leftLengths)
    {
        PriorityQueue<Join, Priority> queue = new();
        for (int i = 1; i < symbols.Length; i++)
            Offer(queue, piece, symbols, i - 1, i, leftLengths);
        while (queue.TryDequeue(out Join join, out _))
        {
            ref Symbol left = ref symbols[join.Left];
            ref Symbol right = ref symbols[join.Right];
            if (left.Length == 0 || right.Length == 0 || left.Length + right.Length != join.Length)
                continue;
            left.Length += right.Length;
            left.Next = right.Next;
            right.Length = 0;
            if (right.Next >= 0)
                symbols[right.Next].Previous = join.Left;
            Offer(queue, piece, symbols, left.Previous, join.Left, leftLengths);
            Offer(queue, piece, symbols, join.Left, left.Next, leftLengths);
        }
    }

    private void Offer(
        PriorityQueue<Join, Priority> queue, ReadOnlySpan<char> piece, Span<Symbol> symbols, int left, int right, Dictionary<(int, int), int> leftLengths)
    {
        if (left < 0 || right < 0 || symbols[left].Frozen || symbols[right].Frozen)
            return;
        int length = symbols[left].Length + symbols[right].Length;
        int id = _mergeable.IdOf(piece.Slice(symbols[left].Start, length));
        if (id < 0)
            return;
        queue.Enqueue(new(left, right, length), new(_scores[id], left));
        if (_unused.Contains(id))
            leftLengths[(symbols[left].Start, length)] = symbols[left].Length;
    }

    private void Give(ReadOnlySpan<char> piece, int start, int length, Dictionary<(int, int), int> leftLengths, List<int> ids, ref bool lastUnknown)
    {
        // Parts of unused pieces wait here, the rightmost at the bottom.
        Stack<(int Start, int Length)> parts = new([(start, length)]);
        while (parts.TryPop(out (int Start, int Length) part))
        {
            int id = _mergeable.IdOf(piece.Slice(part.Start, part.Length));
            if (id >= 0 && _unused.Contains(id) && leftLengths.TryGetValue(part, out int left))
            {
                parts.Push((part.Start + left, part.Length - left));
                parts.Push((part.Start, left));
            }
            else if (id >= 0)
            {
                ids.Add(id);
                lastUnknown = false;
            }
            else
            {
                GiveUnknown(piece.Slice(part.Start, part.Length), ids, ref lastUnknown);
            }
        }
    }

    private void GiveUnknown(ReadOnlySpan<char> text, List<int> ids, ref bool lastUnknown)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text.ToArray());
        if (bytes.All(value => _byteIds[value] >= 0))
        {
            ids.AddRange(bytes.Select(value => _byteIds[value]));
            lastUnknown = false;
        }
        else if (_unknownId is int unknown && !lastUnknown)
        {
            ids.Add(unknown);
            lastUnknown = true;
        }
    }
}
