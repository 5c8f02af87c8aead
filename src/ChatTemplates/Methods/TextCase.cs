using System.Text;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Methods;

/// <summary>Python's upper, lower, title, capitalize, swapcase and casefold, with the mappings that lengthen the text.</summary>
/// <remarks>
/// Source   The Unicode Standard, section 3.13: full case conversion, the final sigma rule included.
/// </remarks>
internal static class TextCase
{
    private const int CapitalSigma = 0x3A3;

    public static string Upper(string text) => Ascii.IsValid(text) ? text.ToUpperInvariant() : Map(text, static (_, _, rune) => UpperOf(rune));

    public static string Lower(string text) => Ascii.IsValid(text) ? text.ToLowerInvariant() : Map(text, LowerAt);

    public static string SwapCase(string text) => Map(
        text, static (whole, at, rune) => Rune.IsUpper(rune) ? LowerAt(whole, at, rune) : Rune.IsLower(rune) ? UpperOf(rune) : rune.ToString());

    public static string CaseFold(string text) => Map(text, static (_, _, rune) => rune.Value switch
    {
        0x131 => "\u0131",
        0x1E9E => "ss",
        (>= 0x13A0 and <= 0x13FF) or (>= 0xAB70 and <= 0xABBF) => UpperOf(rune), // Cherokee folds to its capitals
        _ => Lower(UpperOf(rune)).Replace('\u03C2', '\u03C3'),
    });

    /// <summary>The first letter of the text in title case, the others in lower case.</summary>
    public static string Capitalize(string text) => Map(text, static (whole, at, rune) => at == 0 ? TitleOf(rune) : LowerAt(whole, at, rune));

    /// <summary>str.title: every letter that follows no letter in title case; "they're" becomes "They'Re".</summary>
    public static string Title(string text)
    {
        bool afterLetter = false;
        return Map(text, (whole, at, rune) =>
        {
            string mapped = afterLetter ? LowerAt(whole, at, rune) : TitleOf(rune);
            afterLetter = IsCased(rune);
            return mapped;
        });
    }

    /// <summary>Whether the text has a cased letter and every cased letter is of one case.</summary>
    public static bool IsAll(string text, bool upper)
    {
        bool any = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (upper ? Rune.IsLower(rune) || IsTitleLetter(rune) : Rune.IsUpper(rune) || IsTitleLetter(rune))
                return false;
            any |= upper ? Rune.IsUpper(rune) : Rune.IsLower(rune);
        }
        return any;
    }

    /// <summary>str.istitle: capitals only where no letter precedes, small letters only after one.</summary>
    public static bool IsTitle(string text)
    {
        bool any = false, afterLetter = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool capital = Rune.IsUpper(rune) || IsTitleLetter(rune);
            if ((capital && afterLetter) || (Rune.IsLower(rune) && !afterLetter))
                return false;
            afterLetter = IsCased(rune);
            any |= afterLetter;
        }
        return any;
    }

    private static string Map(string text, Func<string, int, Rune, string> map)
    {
        StringBuilder mapped = new(text.Length);
        int at = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            mapped.Append(map(text, at, rune));
            at += rune.Utf16SequenceLength;
        }
        return mapped.ToString();
    }

    private static string UpperOf(Rune rune) => rune.IsBmp && CaseTables.UpperMappings.TryGetValue((char)rune.Value, out string? upper)
        ? upper
        : Rune.ToUpperInvariant(rune).ToString();

    private static string TitleOf(Rune rune)
    {
        if (rune.IsBmp && CaseTables.TitleMappings.TryGetValue((char)rune.Value, out string? title))
            return title;
        return rune.Value is >= 0x10D0 and <= 0x10FF ? rune.ToString() : UpperOf(rune); // Georgian titles stay small
    }

    private static string LowerAt(string text, int at, Rune rune) => rune.Value switch
    {
        CapitalSigma => IsFinalSigma(text, at) ? "\u03C2" : "\u03C3",
        0x130 => "i\u0307",
        _ => Rune.ToLowerInvariant(rune).ToString(),
    };

    /// <summary>A sigma ends a word where a letter precedes it and none follows, marks aside.</summary>
    private static bool IsFinalSigma(string text, int at)
    {
        int before = at - 1;
        while (before >= 0 && IsCaseIgnorable(text[before]))
            before--;
        if (before < 0 || !IsCased(RuneEndingAt(text, before)))
            return false;
        int after = at + 1;
        while (after < text.Length && IsCaseIgnorable(text[after]))
            after++;
        return after == text.Length || !Rune.TryGetRuneAt(text, after, out Rune next) || !IsCased(next);
    }

    private static Rune RuneEndingAt(string text, int at)
    {
        int start = at > 0 && char.IsLowSurrogate(text[at]) && char.IsHighSurrogate(text[at - 1]) ? at - 1 : at;
        return Rune.TryGetRuneAt(text, start, out Rune rune) ? rune : Rune.ReplacementChar;
    }

    private static bool IsCased(Rune rune) => Rune.IsUpper(rune) || Rune.IsLower(rune) || IsTitleLetter(rune);

    private static bool IsTitleLetter(Rune rune) => Rune.GetUnicodeCategory(rune) == System.Globalization.UnicodeCategory.TitlecaseLetter;

    private static bool IsCaseIgnorable(char c) => c is '\'' or '.' or ':' or '^' or '`' or '\u00AD' or '\u00B7' or '\u2018' or '\u2019' ||
        char.GetUnicodeCategory(c) is System.Globalization.UnicodeCategory.NonSpacingMark or System.Globalization.UnicodeCategory.EnclosingMark or
            System.Globalization.UnicodeCategory.Format or System.Globalization.UnicodeCategory.ModifierLetter or
            System.Globalization.UnicodeCategory.ModifierSymbol;
}
