using TpServe.Gateway.Tokenization.Patterns;

namespace TpServe.Gateway.Tokenization.Normalizers;

/// <summary>Replaces every occurrence of a text or match of a pattern; exactly one of both is given.</summary>
internal sealed class ReplaceNormalizer(string? literal, Pattern? pattern, string replacement) : INormalizer
{
    public string Normalize(string text)
    {
        if (pattern is not null)
            return pattern.Replace(text, replacement);
        return literal is { Length: > 0 } ? text.Replace(literal, replacement, StringComparison.Ordinal) : text;
    }
}
