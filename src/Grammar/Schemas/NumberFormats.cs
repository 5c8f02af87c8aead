namespace TpServe.Grammar.Schemas;

/// <summary>OpenAPI's formats of numbers: whole ones within what so many bits hold; float and double are any number.</summary>
internal static class NumberFormats
{
    private static readonly Dictionary<string, Alternative> s_formats = new()
    {
        ["int8"] = Whole("-128", "127"),
        ["int16"] = Whole("-32768", "32767"),
        ["int32"] = Whole("-2147483648", "2147483647"),
        ["int64"] = Whole("-9223372036854775808", "9223372036854775807"),
        ["uint8"] = Whole("0", "255"),
        ["uint16"] = Whole("0", "65535"),
        ["uint32"] = Whole("0", "4294967295"),
        ["uint64"] = Whole("0", "18446744073709551615"),
        ["float"] = Alternative.Any,
        ["double"] = Alternative.Any,
    };

    /// <summary>What a format asks of numbers; null = it is none of numbers.</summary>
    public static Alternative? Of(string format) => s_formats.GetValueOrDefault(format);

    // Strings and all else are as they were: the format is none of theirs.
    private static Alternative Whole(string least, string most) => new()
    {
        Kinds = JsonKinds.All & ~JsonKinds.Fraction,
        Lower = new NumberBound(JsonNumber.Parse(least)!.Value, false),
        Upper = new NumberBound(JsonNumber.Parse(most)!.Value, false),
    };
}
