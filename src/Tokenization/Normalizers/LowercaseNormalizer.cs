using System.Text;

namespace TpServe.Tokenization.Normalizers;

/// <summary>Lower case, code point by code point: a sigma at a word's end stays the ordinary one, U+0130 becomes i and a dot above.</summary>
/// <remarks>
/// Source   Rust's char::to_lowercase with Unicode 17; the pairs that Unicode 15 to 17 added are written out, since the host's tables may be older.
/// </remarks>
internal sealed class LowercaseNormalizer : INormalizer
{
    public string Normalize(string text)
    {
        StringBuilder lower = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (rune.Value == 0x130)
                lower.Append("i\u0307");
            else
                lower.Append(Lower(rune));
        }
        return lower.ToString();
    }

    private static Rune Lower(Rune rune) => rune.Value switch
    {
        < 0x80 => Rune.ToLowerInvariant(rune),
        0x1C89 => new(0x1C8A),
        0xA7CB => new(0x264),
        0xA7CC or 0xA7CE or 0xA7D2 or 0xA7D4 or 0xA7DA => new(rune.Value + 1),
        0xA7DC => new(0x19B),
        >= 0x10D50 and <= 0x10D65 => new(rune.Value + 0x20),
        >= 0x16EA0 and <= 0x16EB8 => new(rune.Value + 0x1B),
        _ => Rune.ToLowerInvariant(rune),
    };
}
