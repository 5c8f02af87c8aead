using System.Text;
using TpServe.Gateway.Tokenization.Unicode;

namespace TpServe.Gateway.Tokenization.Normalizers;

/// <summary>NFC, NFD, NFKC or NFKD as of Unicode 9: characters whose decomposition is younger pass as they are.</summary>
/// <remarks>
/// Source   Unicode Standard Annex 15, with the tables of the reference's crate; the host's newer tables are kept from seeing the younger characters.
/// </remarks>
internal sealed class UnicodeFormNormalizer(NormalizationForm form) : INormalizer
{
    private static readonly CodePointSet Younger = CodePointSet.Parse(
        "32FF A7F1-A7F4 AB69 105C9 105E4 10781-10785 10787-107B0 107B2-107BA 11383 11385 1138E 11391 113C5 113C7-113C8 11938 16121-16128 16D68-16D6A " +
        "1CCD6-1CCF9 1F16C 1FBF0-1FBF9");

    public string Normalize(string text)
    {
        if (text.IsNormalized(form))
            return text;
        int from = 0;
        StringBuilder? result = null;
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text.AsSpan(at), out Rune rune, out int length);
            if (Younger.Contains(rune.Value))
            {
                result ??= new StringBuilder(text.Length);
                result.Append(text[from..at].Normalize(form)).Append(rune);
                from = at + length;
            }
            at += length;
        }
        return result is null ? text.Normalize(form) : result.Append(text[from..].Normalize(form)).ToString();
    }
}
