using System.Globalization;
using TpServe.Grammar.Automata;

namespace TpServe.Grammar.Regexes;

/// <summary>The general categories of Unicode by the names that \p{…} knows.</summary>
internal static class UnicodeCategories
{
    // The order is UnicodeCategory's.
    private static readonly string[] Short =
    [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co",
        "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Cn",
    ];

    private static readonly Dictionary<string, string> Long = new()
    {
        ["Letter"] = "L",
        ["Uppercase_Letter"] = "Lu",
        ["Lowercase_Letter"] = "Ll",
        ["Titlecase_Letter"] = "Lt",
        ["Modifier_Letter"] = "Lm",
        ["Other_Letter"] = "Lo",
        ["Mark"] = "M",
        ["Nonspacing_Mark"] = "Mn",
        ["Spacing_Mark"] = "Mc",
        ["Enclosing_Mark"] = "Me",
        ["Number"] = "N",
        ["Decimal_Number"] = "Nd",
        ["Letter_Number"] = "Nl",
        ["Other_Number"] = "No",
        ["digit"] = "Nd",
        ["Punctuation"] = "P",
        ["punct"] = "P",
        ["Connector_Punctuation"] = "Pc",
        ["Dash_Punctuation"] = "Pd",
        ["Open_Punctuation"] = "Ps",
        ["Close_Punctuation"] = "Pe",
        ["Initial_Punctuation"] = "Pi",
        ["Final_Punctuation"] = "Pf",
        ["Other_Punctuation"] = "Po",
        ["Symbol"] = "S",
        ["Math_Symbol"] = "Sm",
        ["Currency_Symbol"] = "Sc",
        ["Modifier_Symbol"] = "Sk",
        ["Other_Symbol"] = "So",
        ["Separator"] = "Z",
        ["Space_Separator"] = "Zs",
        ["Line_Separator"] = "Zl",
        ["Paragraph_Separator"] = "Zp",
        ["Other"] = "C",
        ["Control"] = "Cc",
        ["Format"] = "Cf",
        ["Private_Use"] = "Co",
    };

    private static readonly Lazy<CharSet[]> Sets = new(Collect);

    /// <summary>The characters of a category, or of a group of them by one letter; null = no such name.</summary>
    public static CharSet? Find(string name)
    {
        name = name.StartsWith("General_Category=", StringComparison.Ordinal) || name.StartsWith("gc=", StringComparison.Ordinal) ? name[(name.IndexOf('=') + 1)..] : name;
        if (name is "Any")
            return CharSet.All;
        if (name is "ASCII")
            return CharSet.Of(0, 0x7F);
        string shortName = Long.GetValueOrDefault(name, name);
        CharSet[] found = [.. Short.Index().Where(category => category.Item == shortName || (shortName.Length == 1 && category.Item[0] == shortName[0])).Select(category => Sets.Value[category.Index])];
        return found.Length == 0 ? null : CharSet.Of(found.SelectMany(set => set.Ranges));
    }

    private static CharSet[] Collect()
    {
        List<(int, int)>[] ranges = [.. Short.Select(_ => new List<(int, int)>())];
        foreach ((int lo, int hi) in CharSet.All.Ranges)
            for (int from = lo, to; from <= hi; from = to)
            {
                UnicodeCategory category = CharUnicodeInfo.GetUnicodeCategory(from);
                for (to = from + 1; to <= hi && CharUnicodeInfo.GetUnicodeCategory(to) == category; to++) { }
                ranges[(int)category].Add((from, to - 1));
            }
        return [.. ranges.Select(CharSet.Of)];
    }
}
