namespace TpServe.Tokenization;

/// <summary>Bounds on what a tokenizer file may hold; far above every published vocabulary, low enough that a hostile file cannot exhaust a host.</summary>
internal static class TokenizerLimits
{
    /// <summary>Ids run from 0 to this, exclusive; the largest vocabulary known has 262 145.</summary>
    public const int VocabularyTokens = 1 << 22;

    /// <summary>The largest id among so many tokens: tables by id are as long as it is, so a file of a few tokens cannot ask for long ones. Published vocabularies leave out a few hundred ids at most.</summary>
    public static int LargestIdOf(int tokens) => (int)Math.Min(VocabularyTokens - 1, (IdsOfToken * (long)tokens) + SpareIds);

    private const int IdsOfToken = 8, SpareIds = 1 << 14;

    /// <summary>Merges of a BPE model; the largest known has 514 906.</summary>
    public const int Merges = 1 << 23;

    /// <summary>UTF-16 units of one token; bounds the work per character of every longest-match search.</summary>
    public const int TokenCharacters = 1024;

    /// <summary>UTF-16 units of a regular expression.</summary>
    public const int PatternCharacters = 1 << 14;

    /// <summary>Nesting of groups in a regular expression and of sequences in a pipeline.</summary>
    public const int Depth = 32;

    /// <summary>Steps of one pipeline: normalizers, pre-tokenizers, decoders or processors in a sequence.</summary>
    public const int PipelineSteps = 64;
}

/// <summary>How far a pipeline may lengthen a text: steps that each double it would otherwise exhaust the host after a few dozen.</summary>
/// <remarks>
/// Source   the largest honest factor is NFKC's: U+FDFA becomes 18 characters.
/// </remarks>
internal static class GrowthLimit
{
    /// <summary>Times the text's own length.</summary>
    public const int Factor = 64;

    private const int Allowance = 4096;

    /// <exception cref="TokenizerException">The text has grown too far.</exception>
    public static void Check(int original, long now, string step)
    {
        if (now > ((long)Factor * original) + Allowance)
            throw new TokenizerException($"{step} lengthens {original} characters to {now}; the limit is {Factor} times and {Allowance}.");
    }
}
