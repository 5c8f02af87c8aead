using System.Text;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Normalizers;

/// <summary>BERT's clean-up: controls removed, spaces made plain, ideographs set apart, accents stripped, lower case; each where asked for.</summary>
internal sealed class BertNormalizer(bool cleanText, bool handleChineseCharacters, bool stripAccents, bool lowercase) : INormalizer
{
    private static readonly CodePointSet Control = UnicodeClasses.BertControl;

    // U+0085 counts as a control here; vertical tab and form feed too.
    private static readonly CodePointSet Spaces = CodePointSet.Parse("0009-000A 000D 0020 00A0 1680 2000-200A 2028-2029 202F 205F 3000");

    // The reference leaves out U+2B820 to U+2B91F, which its author meant to include.
    private static readonly CodePointSet Ideographs = CodePointSet.Parse("3400-4DBF 4E00-9FFF F900-FAFF 20000-2A6DF 2A700-2B81F 2B920-2CEAF 2F800-2FA1F");

    private static readonly UnicodeFormNormalizer Decompose = new(NormalizationForm.FormD);
    private static readonly RemoveNormalizer RemoveMarks = new(OlderUnicode.NonspacingMark);
    private static readonly LowercaseNormalizer Lower = new();

    public string Normalize(string text)
    {
        if (cleanText)
            text = Clean(text);
        if (handleChineseCharacters)
            text = SetApart(text);
        if (stripAccents)
            text = RemoveMarks.Normalize(Decompose.Normalize(text));
        return lowercase ? Lower.Normalize(text) : text;
    }

    private static string Clean(string text)
    {
        StringBuilder clean = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (Spaces.Contains(rune.Value))
                clean.Append(' ');
            else if (!Control.Contains(rune.Value))
                clean.Append(rune);
        }
        return clean.ToString();
    }

    private static string SetApart(string text)
    {
        StringBuilder apart = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (Ideographs.Contains(rune.Value))
                apart.Append(' ').Append(rune).Append(' ');
            else
                apart.Append(rune);
        }
        return apart.ToString();
    }
}
