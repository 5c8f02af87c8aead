using System.Text;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Normalizers;

/// <summary>Removes white space from the ends.</summary>
internal sealed class StripNormalizer(bool left, bool right) : INormalizer
{
    public string Normalize(string text)
    {
        int start = 0, end = text.Length;
        while (left && start < end && IsSpace(text[start]))
            start++;
        while (right && end > start && IsSpace(text[end - 1]))
            end--;
        return text[start..end];
    }

    public string NormalizeContinuation(string text) => text;

    // No white space lies above U+FFFF.
    private static bool IsSpace(char unit) => Rune.IsValid(unit) && UnicodeClasses.WhiteSpace.Contains(unit);
}
