using System.Text;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Normalizers;

/// <summary>NFC, NFD, NFKC or NFKD of Unicode 9, whichever version the host's tables have.</summary>
/// <remarks>
/// Numerics decompositions and combining classes never change once assigned, so the host normalizes every stretch of code points that Unicode 9
///          has; any other one passes as it is and, as an unassigned one does, keeps its neighbours apart.
/// Source   Unicode Standard Annex 15, with the tables of the reference's crate.
/// </remarks>
internal sealed class UnicodeFormNormalizer(NormalizationForm form) : INormalizer
{
    public string Normalize(string text)
    {
        if (Ascii.IsValid(text))
            return text;
        int from = 0;
        StringBuilder? result = null;
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text.AsSpan(at), out Rune rune, out int length);
            if (!OlderUnicode.Assigned.Contains(rune.Value) || IsNoncharacter(rune.Value))
            {
                result ??= new StringBuilder(text.Length);
                result.Append(text[from..at].Normalize(form)).Append(rune);
                from = at + length;
            }
            at += length;
        }
        return result is null ? text.Normalize(form) : result.Append(text[from..].Normalize(form)).ToString();
    }

    // The host refuses some of them.
    private static bool IsNoncharacter(int codePoint) => (codePoint & 0xFFFE) == 0xFFFE || codePoint is >= 0xFDD0 and <= 0xFDEF;
}
