using System.Runtime.InteropServices;
using Google.Protobuf;
using TpServe.Gateway.Scheduling;
using TpServe.Grammar;

namespace TpServe.Gateway.Requests;

/// <summary>One output's way through its grammar, as masks over the vocabulary: what the grammar allows, and the end tokens where the text may end.</summary>
/// <remarks>
/// An end token may come where the text is whole and nowhere else, even one that is ordinary text; before min_tokens it may only come where nothing else may.
/// Cost     a mask takes some microseconds, rarely a millisecond; it is made once a token, when that is known.
/// </remarks>
internal sealed class OutputConstraint : ITokenConstraint
{
    private readonly GrammarMatcher _matcher;
    private readonly IReadOnlySet<int> _ends;
    private readonly int _vocabulary;
    private readonly int _minTokens;
    private readonly ulong[] _mask;
    private int _tokens;

    /// <param name="matcher">Before the first token.</param>
    /// <param name="ends">Tokens that end the output.</param>
    /// <param name="vocabulary">Tokens that the model has logits for.</param>
    /// <param name="minTokens">Tokens before an end token may come.</param>
    public OutputConstraint(GrammarMatcher matcher, IReadOnlySet<int> ends, int vocabulary, int minTokens)
    {
        (_matcher, _ends, _vocabulary, _minTokens) = (matcher, ends, vocabulary, minTokens);
        _mask = new ulong[Math.Max(matcher.Vocabulary.MaskWords, (vocabulary + 63) / 64)];
        Look();
    }

    /// <inheritdoc/>
    public ByteString Allowed { get; private set; } = ByteString.Empty;

    /// <inheritdoc/>
    public bool IsComplete { get; private set; }

    /// <inheritdoc/>
    public string? Fault { get; private set; }

    /// <inheritdoc/>
    public void Take(int token)
    {
        _tokens++;
        try
        {
            if (!_matcher.Advance(token))
                Fault = $"token {token} was chosen, which may not come here";
            else
                Look();
        }
        catch (GrammarException limit)
        {
            Fault = limit.Message;
        }
    }

    private void Look()
    {
        _matcher.FillMask(_mask);
        for (int id = _vocabulary; id < 64 * _mask.Length && (id & 63) != 0; id++)
            Set(id, false);
        _mask.AsSpan((_vocabulary + 63) / 64).Clear();
        foreach (int end in _ends)
            Set(end, false);
        bool others = _mask.AsSpan().ContainsAnyExcept(0ul), accepts = _matcher.IsAccepting;
        IsComplete = accepts && !others;
        if (accepts && (_tokens >= _minTokens || !others))
            foreach (int end in _ends)
                Set(end, true);
        else if (!others)
            Fault = "no token of the vocabulary can go on as it must";
        Allowed = ByteString.CopyFrom(MemoryMarshal.AsBytes(_mask.AsSpan()));
    }

    private void Set(int token, bool allowed)
    {
        if ((uint)token >= (uint)_vocabulary)
            return;
        if (allowed)
            _mask[token >> 6] |= 1ul << token;
        else
            _mask[token >> 6] &= ~(1ul << token);
    }
}
