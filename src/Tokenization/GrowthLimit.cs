namespace TpServe.Tokenization;

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
