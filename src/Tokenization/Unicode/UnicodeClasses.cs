using System.Globalization;

namespace TpServe.Tokenization.Unicode;

/// <summary>The character classes of the reference implementations, from the Unicode 16 categories of the runtime.</summary>
/// <remarks>
/// Source   Oniguruma (patterns of tokenizer.json), the Rust standard library and its regex crate (named pre-tokenizers); where the three
///          differ, or follow other versions of Unicode, each has its own set here.
/// Oracle   unicode-classes.json of the golden set.
/// </remarks>
internal static class UnicodeClasses
{
    private static readonly Lazy<CodePointSet[]> Categories = new(ScanCategories);

    // Alphabetic symbols: the circled and squared letters.
    private static readonly CodePointSet AlphabeticSymbols = CodePointSet.Parse("24B6-24E9 1F130-1F149 1F150-1F169 1F170-1F189");

    private static readonly Dictionary<string, CodePointSet> Scripts = new(StringComparer.OrdinalIgnoreCase)
    {
        ["Han"] = CodePointSet.Parse(
            "2E80-2E99 2E9B-2EF3 2F00-2FD5 3005 3007 3021-3029 3038-303B 3400-4DBF 4E00-9FFF F900-FA6D FA70-FAD9 16FE2-16FE3 16FF0-16FF1 " +
            "20000-2A6DF 2A700-2B739 2B740-2B81D 2B820-2CEA1 2CEB0-2EBE0 2EBF0-2EE5D 2F800-2FA1D 30000-3134A 31350-323AF"),
        ["Hiragana"] = CodePointSet.Parse("3041-3096 309D-309F 1B001-1B11F 1B132 1B150-1B152 1F200"),
        ["Katakana"] = CodePointSet.Parse("30A1-30FA 30FD-30FF 31F0-31FF 32D0-32FE 3300-3357 FF66-FF6F FF71-FF9D 1AFF0-1AFF3 1AFF5-1AFFB 1AFFD-1AFFE 1B000 1B120-1B122 1B155 1B164-1B167"),
        ["Hangul"] = CodePointSet.Parse("1100-11FF 302E-302F 3131-318E 3200-321E 3260-327E A960-A97C AC00-D7A3 D7B0-D7C6 D7CB-D7FB FFA0-FFBE FFC2-FFC7 FFCA-FFCF FFD2-FFD7 FFDA-FFDC"),
    };

    /// <summary>White_Space: \s of patterns, and what Whitespace pre-tokenizers and Strip call white space.</summary>
    public static CodePointSet WhiteSpace { get; } = CodePointSet.Parse("0009-000D 0020 0085 00A0 1680 2000-200A 2028-2029 202F 205F 3000");

    public static CodePointSet Letter => Group("Lu", "Ll", "Lt", "Lm", "Lo");

    /// <summary>\w of patterns: letters, marks, decimal and letter numbers, connectors, and Latin-1's superscripts and fractions.</summary>
    public static CodePointSet PatternWord =>
        Group("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "Pc").Union(AlphabeticSymbols).Union(CodePointSet.Parse("00B2-00B3 00B9 00BC-00BE"));

    /// <summary>\w of the Whitespace pre-tokenizer and of single-word added tokens: no superscripts, but the two joiners.</summary>
    public static CodePointSet RustWord =>
        Group("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "Pc").Union(AlphabeticSymbols).Union(CodePointSet.Range(0x200C, 0x200D));

    /// <summary>What the Digits pre-tokenizer splits: every number, with two scripts of Unicode 17.</summary>
    public static CodePointSet Numeric => Group("Nd", "Nl", "No").Union(CodePointSet.Parse("11DE0-11DE9 16FF4-16FF6"));

    /// <summary>What BertNormalizer removes: controls, formats, private use (but tab and line ends), NUL and U+FFFD.</summary>
    public static CodePointSet BertControl =>
        Group("Cc", "Cf", "Co").Union(CodePointSet.Of(0xFFFD)).Except(CodePointSet.Parse("0009-000A 000D 0890-0891 08E2 110CD 13430-1343F"));

    /// <summary>The set of a property name in \p{…}: a general category, a group of them, or one of a few scripts; null = not known.</summary>
    public static CodePointSet? Property(string name)
    {
        string key = name.Replace("_", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal).ToUpperInvariant();
        return key switch
        {
            "L" or "LETTER" => Letter,
            "L&" or "LC" or "CASEDLETTER" => Group("Lu", "Ll", "Lt"),
            "LU" or "UPPERCASELETTER" => Group("Lu"),
            "LL" or "LOWERCASELETTER" => Group("Ll"),
            "LT" or "TITLECASELETTER" => Group("Lt"),
            "LM" or "MODIFIERLETTER" => Group("Lm"),
            "LO" or "OTHERLETTER" => Group("Lo"),
            "M" or "MARK" or "COMBININGMARK" => Group("Mn", "Mc", "Me"),
            "MN" or "NONSPACINGMARK" => Group("Mn"),
            "MC" or "SPACINGMARK" => Group("Mc"),
            "ME" or "ENCLOSINGMARK" => Group("Me"),
            "N" or "NUMBER" => Group("Nd", "Nl", "No"),
            "ND" or "DECIMALNUMBER" or "DIGIT" => Group("Nd"),
            "NL" or "LETTERNUMBER" => Group("Nl"),
            "NO" or "OTHERNUMBER" => Group("No"),
            "P" or "PUNCTUATION" => Group("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"),
            "PC" or "CONNECTORPUNCTUATION" => Group("Pc"),
            "PD" or "DASHPUNCTUATION" => Group("Pd"),
            "PS" or "OPENPUNCTUATION" => Group("Ps"),
            "PE" or "CLOSEPUNCTUATION" => Group("Pe"),
            "PI" or "INITIALPUNCTUATION" => Group("Pi"),
            "PF" or "FINALPUNCTUATION" => Group("Pf"),
            "PO" or "OTHERPUNCTUATION" => Group("Po"),
            "S" or "SYMBOL" => Group("Sm", "Sc", "Sk", "So"),
            "SM" or "MATHSYMBOL" => Group("Sm"),
            "SC" or "CURRENCYSYMBOL" => Group("Sc"),
            "SK" or "MODIFIERSYMBOL" => Group("Sk"),
            "SO" or "OTHERSYMBOL" => Group("So"),
            "Z" or "SEPARATOR" => Group("Zs", "Zl", "Zp"),
            "ZS" or "SPACESEPARATOR" => Group("Zs"),
            "ZL" or "LINESEPARATOR" => Group("Zl"),
            "ZP" or "PARAGRAPHSEPARATOR" => Group("Zp"),
            "C" or "OTHER" => Group("Cc", "Cf", "Cs", "Co", "Cn"),
            "CC" or "CONTROL" or "CNTRL" => Group("Cc"),
            "CF" or "FORMAT" => Group("Cf"),
            "CS" or "SURROGATE" => Group("Cs"),
            "CO" or "PRIVATEUSE" => Group("Co"),
            "CN" or "UNASSIGNED" => Group("Cn"),
            "ANY" => CodePointSet.All,
            "ASCII" => CodePointSet.Range(0, 0x7F),
            "ALPHA" or "ALPHABETIC" => PatternWord.Except(Group("Nd", "Pc")).Except(CodePointSet.Parse("00B2-00B3 00B9 00BC-00BE")),
            "ALNUM" => PatternWord.Except(Group("Pc")).Except(CodePointSet.Parse("00B2-00B3 00B9 00BC-00BE")),
            "UPPER" or "UPPERCASE" => Group("Lu"),
            "LOWER" or "LOWERCASE" => Group("Ll"),
            "SPACE" or "WHITESPACE" => WhiteSpace,
            "BLANK" => Group("Zs").Union(CodePointSet.Of('\t')),
            "PUNCT" => Group("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po").Union(CodePointSet.Parse("0024 002B 003C-003E 005E 0060 007C 007E")),
            "WORD" => PatternWord,
            "XDIGIT" or "HEXDIGIT" => CodePointSet.Parse("0030-0039 0041-0046 0061-0066"),
            _ => Scripts.GetValueOrDefault(key),
        };
    }

    private static CodePointSet Group(params ReadOnlySpan<string> categories)
    {
        IEnumerable<(int, int)> ranges = [];
        foreach (string category in categories)
            ranges = ranges.Concat(Categories.Value[Array.IndexOf(CategoryNames, category)].Ranges);
        return CodePointSet.FromRanges(ranges);
    }

    // In the order of System.Globalization.UnicodeCategory.
    private static readonly string[] CategoryNames =
    [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co",
        "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Cn",
    ];

    private static CodePointSet[] ScanCategories()
    {
        List<(int First, int Last)>[] ranges = [.. CategoryNames.Select(_ => new List<(int, int)>())];
        int first = 0;
        UnicodeCategory category = CharUnicodeInfo.GetUnicodeCategory(0);
        for (int codePoint = 1; codePoint <= CodePointSet.Limit; codePoint++)
        {
            UnicodeCategory? next = codePoint < CodePointSet.Limit ? CharUnicodeInfo.GetUnicodeCategory(codePoint) : null;
            if (next == category)
                continue;
            ranges[(int)category].Add((first, codePoint - 1));
            first = codePoint;
            category = next ?? category;
        }
        return [.. ranges.Select(CodePointSet.FromRanges)];
    }
}
