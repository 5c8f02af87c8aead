using TpServe.Grammar.Masks;
using TpServe.Grammar.Pushdown;

namespace TpServe.Grammar;

/// <summary>Where one sequence stands in its grammar.</summary>
/// <remarks>
/// A matcher is one reference to a shared state, so copies cost nothing. What ends a text (the end-of-text token) is not in the masks:
/// it may come where <see cref="IsAccepting"/>.
/// Threads  one at a time for each matcher; matchers of a grammar may run side by side.
/// Errors   <see cref="GrammarException"/> (Limit) where an ambiguous grammar has too many readings of the text, at once or over its whole length.
/// </remarks>
public sealed class GrammarMatcher
{
    private const int WalksAtOnce = 32, WalksInAll = 128; // of the whole vocabulary, each with one reading at every node
    private const int LeastWalk = 1 << 14;

    private readonly PushdownAutomaton _automaton;
    private readonly TokenMasks _masks;
    private ParseState _state;
    private long _work; // that is left

    internal GrammarMatcher(PushdownAutomaton automaton, TokenMasks masks, ParseState state)
    {
        _automaton = automaton;
        _masks = masks;
        _state = state;
        _work = (long)WalksInAll * Math.Max(LeastWalk, masks.Trie.Bytes.Length);
    }

    /// <summary>The text so far is whole: it may end here.</summary>
    public bool IsAccepting => _state.Accepts;

    /// <summary>The text is whole and nothing can follow.</summary>
    public bool IsComplete => _state is { Accepts: true, Active.Length: 0 };

    /// <summary>The vocabulary that the masks are over.</summary>
    public TokenTrie Vocabulary => _masks.Trie;

    /// <summary>An independent matcher at the same place.</summary>
    public GrammarMatcher Clone() => new(_automaton, _masks, _state) { _work = _work };

    /// <summary>Takes a token. False = not allowed, and nothing has changed.</summary>
    public bool Advance(int token)
    {
        ReadOnlySpan<byte> bytes = _masks.Trie.BytesOf(token);
        return bytes.Length > 0 && AdvanceBytes(bytes);
    }

    /// <summary>Takes bytes of the text. False = not allowed, and nothing has changed.</summary>
    public bool AdvanceBytes(ReadOnlySpan<byte> bytes)
    {
        ParseState state = _state;
        Begin();
        try
        {
            foreach (byte value in bytes)
                if ((state = _automaton.Step(state, value)) == ParseState.Dead)
                    return false;
        }
        finally
        {
            End();
        }
        _state = state;
        return true;
    }

    /// <summary>Sets the bit of each token that may come next, clears all others; bit i of word w is the token 64·w + i.</summary>
    /// <returns>False where no token may come: the text is complete, or the vocabulary cannot write what is due.</returns>
    public bool FillMask(Span<ulong> mask)
    {
        Begin();
        try
        {
            _masks.Fill(_state, mask);
        }
        finally
        {
            End();
        }
        return mask[.._masks.Trie.MaskWords].ContainsAnyExcept(0ul);
    }

    /// <summary>The bytes that must come next whatever the model wants; empty where there is a choice, or the text may end.</summary>
    public byte[] ForcedBytes(int most = 256)
    {
        List<byte> forced = [];
        Begin();
        try
        {
            for (ParseState state = _state; forced.Count < most && !state.Accepts && OnlyByte(state) is byte value;)
            {
                forced.Add(value);
                state = _automaton.Step(state, value);
            }
        }
        finally
        {
            End();
        }
        return [.. forced];
    }

    /// <summary>Tokens for the forced bytes, the longest first; the last ones are left to the model where a longer token could write them with what follows.</summary>
    public IReadOnlyList<int> ForcedTokens(int mostBytes = 256)
    {
        byte[] forced = ForcedBytes(mostBytes);
        TokenTrie trie = _masks.Trie;
        List<int> tokens = [];
        for (int at = 0; at < forced.Length;)
        {
            int node = 0, found = -1, length = 0, read = at;
            for (; read < forced.Length && trie.Child(node, forced[read]) is >= 0 and int child; node = child, read++)
                if (trie.TokensAt(child) is [int token, ..])
                    (found, length) = (token, read + 1 - at);
            bool couldBeLonger = read == forced.Length && trie.Ends[node] > node + 1;
            if (found < 0 || couldBeLonger)
                break;
            tokens.Add(found);
            at += length;
        }
        return tokens;
    }

    private void Begin() => RunBudget.Begin(Math.Min(_work, (long)WalksAtOnce * Math.Max(LeastWalk, _masks.Trie.Bytes.Length)));

    private void End() => _work -= RunBudget.End();

    private byte? OnlyByte(ParseState state)
    {
        int only = -1;
        foreach (Reading reading in state.Active)
        {
            int value = _automaton.Program.StringOf(reading.Node) is null ? Single(_automaton.Program.EdgesOf(reading.Node)) : OfString(reading.Node);
            if (value < 0 || (only >= 0 && value != only))
                return null;
            only = value;
        }
        return only < 0 ? null : (byte)only;

        static int Single(ReadOnlySpan<ByteEdge> edges) => edges.Length == 1 && edges[0].Lo == edges[0].Hi ? edges[0].Lo : -1;

        int OfString(int node)
        {
            int found = -1;
            for (int value = 0; value < 256; value++)
                if (_automaton.Program.Step(node, (byte)value) >= 0)
                {
                    if (found >= 0)
                        return -1;
                    found = value;
                }
            return found;
        }
    }
}
