using TpServe.Tokenization.Patterns;

namespace TpServe.Tokenization.Normalizers;

/// <summary>Replaces every occurrence of a text or match of a pattern; exactly one of both is given.</summary>
internal sealed class ReplaceNormalizer(string? literal, Pattern? pattern, string replacement) : INormalizer
{
    /// <summary>At most so many times as long can it make a text.</summary>
    public int Growth => literal switch
    {
        null => pattern!.MayBeEmpty ? replacement.Length + 1 : Math.Max(1, replacement.Length),
        "" => 1,
        _ => Math.Max(1, (replacement.Length + literal.Length - 1) / literal.Length),
    };

    public string Normalize(string text)
    {
        if (pattern is not null)
            return pattern.Replace(text, replacement);
        if (literal is not { Length: > 0 })
            return text;
        if (replacement.Length > literal.Length)
            GrowthLimit.Check(text.Length, text.Length + ((long)text.AsSpan().Count(literal) * (replacement.Length - literal.Length)), "Replace");
        return text.Replace(literal, replacement, StringComparison.Ordinal);
    }
}
