using TpServe.Grammar.Masks;

namespace TpServe.Grammar.Tests;

/// <summary>Texts as a model with no opinion would write them: at each step one of the allowed tokens, by a seed.</summary>
internal static class Walks
{
    /// <summary>The text of a walk; null where it did not come to an end in so many tokens.</summary>
    /// <remarks>
    /// The end is taken as soon as it is allowed after half the tokens, before that with one chance in four; short tokens that close something are preferred
    /// late in the walk, so that most walks end.
    /// </remarks>
    public static byte[]? Run(OutputGrammar grammar, TokenTrie vocabulary, int seed, int mostTokens, Action<GrammarMatcher, Random>? look = null)
    {
        Random random = new(seed);
        GrammarMatcher matcher = grammar.NewMatcher(vocabulary);
        ulong[] mask = new ulong[vocabulary.MaskWords];
        List<byte> text = [];
        for (int step = 0; step < mostTokens; step++)
        {
            look?.Invoke(matcher, random);
            bool any = matcher.FillMask(mask);
            if (matcher.IsAccepting && (!any || step > mostTokens / 2 || random.Next(4) == 0))
                return [.. text];
            if (!any)
                return null;
            List<int> tokens = Vocabularies.Tokens(mask);
            int token = tokens[random.Next(tokens.Count)];
            List<int> closing = step > mostTokens / 3 || random.Next(3) == 0 ? [.. tokens.Where(t => Closes(vocabulary.BytesOf(t)))] : [];
            if (closing.Count > 0)
                token = closing[random.Next(closing.Count)];
            if (!matcher.Advance(token))
                throw new InvalidOperationException($"token {token} is in the mask and not accepted");
            text.AddRange(vocabulary.BytesOf(token));
        }
        return null;
    }

    private static bool Closes(ReadOnlySpan<byte> bytes) => bytes is [(byte)'"' or (byte)'}' or (byte)']'];
}
