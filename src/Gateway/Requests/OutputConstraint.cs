using System.Runtime.InteropServices;
using Google.Protobuf;
using TpServe.Gateway.Scheduling;
using TpServe.Grammar;

namespace TpServe.Gateway.Requests;

/// <summary>One output's way through its grammar, as masks over the vocabulary: what the grammar allows, and the end tokens where the text may end.</summary>
/// <remarks>
/// An end token may come where the text is whole and nowhere else, even one that is ordinary text; before min_tokens it may only come where nothing else may.
/// Where the grammar leaves no choice of the text, none is left of its tokens either: the longest ones, so that one step computes them all.
/// Cost     a mask takes some microseconds, rarely a millisecond; it is made once a token, when that is known, and not for tokens that are forced.
/// </remarks>
internal sealed class OutputConstraint : ITokenConstraint
{
    private readonly GrammarMatcher _matcher;
    private readonly IReadOnlySet<int> _ends;
    private readonly int _vocabulary;
    private readonly int _minTokens;
    private readonly ulong[] _mask;
    private int[] _forced = [];
    private int _firstForced;
    private int _tokens;

    /// <param name="matcher">Before the first token.</param>
    /// <param name="ends">Tokens that end the output.</param>
    /// <param name="vocabulary">Tokens that the model has logits for.</param>
    /// <param name="minTokens">Tokens before an end token may come.</param>
    public OutputConstraint(GrammarMatcher matcher, IReadOnlySet<int> ends, int vocabulary, int minTokens)
    {
        (_matcher, _ends, _vocabulary, _minTokens) = (matcher, ends, vocabulary, minTokens);
        _mask = new ulong[Math.Max(matcher.Vocabulary.MaskWords, (vocabulary + 63) / 64)];
        Try(Look);
    }

    /// <inheritdoc/>
    public ByteString Allowed { get; private set; } = ByteString.Empty;

    /// <inheritdoc/>
    public ReadOnlySpan<int> Forced => _forced.AsSpan(_firstForced);

    /// <inheritdoc/>
    public bool IsComplete { get; private set; }

    /// <inheritdoc/>
    public string? Fault { get; private set; }

    /// <inheritdoc/>
    public void Take(int token)
    {
        _tokens++;
        Try(() =>
        {
            if (!_matcher.Advance(token))
                Fault = $"token {token} was chosen, which may not come here";
            else if (Forced.Length > 1)
                Allowed = Only(_forced[++_firstForced]);
            else
                Look();
        });
    }

    /// <inheritdoc/>
    public ByteString AllowedAfter(int forced)
    {
        if (forced == 0)
            return Allowed;
        if (forced < Forced.Length)
            return Only(Forced[forced]);
        (ByteString mask, int[] further) = (ByteString.Empty, []);
        try
        {
            GrammarMatcher then = _matcher.Clone();
            foreach (int token in Forced)
                then.Advance(token);
            mask = Mask(then, _tokens + forced, out _, out further);
        }
        catch (GrammarException)
        {
            return ByteString.Empty; // the fault is found, and told, when the last of them is taken: what is sampled after it is not looked at
        }
        if (!_mask.AsSpan().ContainsAnyExcept(0ul))
            return ByteString.Empty; // nothing can follow: the last of them ends the request, and what is sampled after it is not looked at
        return further.Length > 0 ? Only(further[0]) : mask;
    }

    // An ambiguous grammar's limit may be passed at any byte: this request's fault, never the engine's.
    private void Try(Action look)
    {
        try
        {
            look();
        }
        catch (GrammarException limit)
        {
            Fault = limit.Message;
        }
    }

    private void Look()
    {
        ByteString mask = Mask(_matcher, _tokens, out bool others, out _forced);
        _firstForced = 0;
        IsComplete = _matcher.IsAccepting && !others;
        if (!_matcher.IsAccepting && !others)
            Fault = "no token of the vocabulary can go on as it must";
        Allowed = _forced.Length > 0 ? Only(_forced[0]) : mask;
    }

    /// <summary>What may come at a matcher's place after so many tokens, whether anything but an end may, and what must.</summary>
    private ByteString Mask(GrammarMatcher matcher, int tokens, out bool others, out int[] forced)
    {
        matcher.FillMask(_mask);
        for (int id = _vocabulary; id < 64 * _mask.Length && (id & 63) != 0; id++)
            Set(id, false);
        _mask.AsSpan((_vocabulary + 63) / 64).Clear();
        foreach (int end in _ends)
            Set(end, false);
        others = _mask.AsSpan().ContainsAnyExcept(0ul);
        forced = others ? [.. matcher.ForcedTokens().TakeWhile(token => token < _vocabulary && !_ends.Contains(token))] : [];
        if (matcher.IsAccepting && (tokens >= _minTokens || !others))
            foreach (int end in _ends)
                Set(end, true);
        return ByteString.CopyFrom(MemoryMarshal.AsBytes(_mask.AsSpan()));
    }

    private static ByteString Only(int token)
    {
        byte[] allowed = new byte[(token / 8) + 1];
        allowed[^1] = (byte)(1 << (token & 7));
        return UnsafeByteOperations.UnsafeWrap(allowed);
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
