using System.Text;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Normalizers;

/// <summary>Removes every code point of a set: StripAccents.</summary>
internal sealed class RemoveNormalizer(CodePointSet removed) : INormalizer
{
    public string Normalize(string text)
    {
        StringBuilder kept = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
            if (!removed.Contains(rune.Value))
                kept.Append(rune);
        return kept.Length == text.Length ? text : kept.ToString();
    }
}
