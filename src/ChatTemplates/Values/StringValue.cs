namespace TpServe.ChatTemplates.Values;

/// <summary>Immutable text that knows, for each of its characters, whether the template or the request wrote it.</summary>
/// <remarks>
/// Text is UTF-16; Python's lengths and indices count code points, so <see cref="Length"/> and <see cref="Offset"/> translate. The origin is
/// kept as runs: <see cref="StartsAsData"/> and the positions at which it flips, strictly ascending and inside (0, Text.Length).
/// </remarks>
internal sealed class StringValue : Value
{
    public static readonly StringValue Empty = new("", false, [], false);

    private int[]? _offsets;

    private StringValue(string text, bool startsAsData, int[] flips, bool isMarkup)
    {
        Text = text;
        StartsAsData = startsAsData;
        Flips = flips;
        IsMarkup = isMarkup;
    }

    public string Text { get; }

    /// <summary>The origin of the first character: true for the request's data.</summary>
    public bool StartsAsData { get; }

    /// <summary>UTF-16 positions at which the origin changes.</summary>
    public int[] Flips { get; }

    /// <summary>Whether this is markupsafe's Markup: text marked safe, which escapes what is added to it.</summary>
    public bool IsMarkup { get; }

    /// <summary>Whether any character is the request's.</summary>
    public bool HasData => StartsAsData || Flips.Length > 0;

    public override string TypeName => IsMarkup ? "Markup" : "str";

    public override bool IsTrue => Text.Length > 0;

    /// <summary>Length in code points.</summary>
    public int Length => Offsets.Length == 0 ? Text.Length : Offsets.Length - 1;

    /// <summary>Empty where every character is one UTF-16 unit; else the offset of each code point and, last, the text's length.</summary>
    private int[] Offsets => _offsets ??= FindOffsets(Text);

    public static StringValue Template(string text) => text.Length == 0 ? Empty : new StringValue(text, false, [], false);

    public static StringValue Data(string text) => text.Length == 0 ? Empty : new StringValue(text, true, [], false);

    /// <summary>Text rebuilt as a whole from inputs of which some were the request's, or none.</summary>
    public static StringValue Of(string text, bool isData) => isData ? Data(text) : Template(text);

    /// <summary>Text with its runs; used by <see cref="StringAssembler"/>.</summary>
    public static StringValue WithRuns(string text, bool startsAsData, int[] flips) =>
        text.Length == 0 ? Empty : new StringValue(text, startsAsData, flips, false);

    /// <summary>Other text made of this one as a whole: its origin is the request's if any of this text was.</summary>
    public StringValue Rebuilt(string text) => Of(text, HasData).AsMarkup(IsMarkup);

    /// <summary>The same text as Markup, or as plain text.</summary>
    public StringValue AsMarkup(bool isMarkup = true) => isMarkup == IsMarkup ? this : new StringValue(Text, StartsAsData, Flips, isMarkup);

    /// <summary>The UTF-16 offset of the code point at an index in [0, Length].</summary>
    public int Offset(int index) => Offsets.Length == 0 ? index : Offsets[index];

    /// <summary>The index of the code point at a UTF-16 offset.</summary>
    public int IndexOfOffset(int offset) => Offsets.Length == 0 ? offset : Array.BinarySearch(Offsets, offset);

    /// <summary>The origin of one UTF-16 unit: true for the request's data.</summary>
    public bool IsDataAt(int position)
    {
        int flips = Array.BinarySearch(Flips, position);
        flips = flips >= 0 ? flips + 1 : ~flips;
        return StartsAsData ^ (flips % 2 == 1);
    }

    /// <summary>A piece by UTF-16 offset and length; it keeps the origin of each character.</summary>
    public StringValue Slice(int start, int length)
    {
        if (length == Text.Length)
            return this;
        if (length == 0)
            return Empty.AsMarkup(IsMarkup);
        string text = Text.Substring(start, length);
        if (Flips.Length == 0)
            return new StringValue(text, StartsAsData, [], IsMarkup);
        List<int> flips = [];
        foreach (int flip in Flips)
            if (flip > start && flip < start + length)
                flips.Add(flip - start);
        return new StringValue(text, IsDataAt(start), [.. flips], IsMarkup);
    }

    /// <summary>A piece by code points.</summary>
    public StringValue SliceCodePoints(int start, int end) => Slice(Offset(start), Offset(end) - Offset(start));

    private static int[] FindOffsets(string text)
    {
        int first = text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF');
        if (first < 0)
            return [];
        List<int> offsets = new(text.Length + 1);
        for (int i = 0; i < text.Length; i++)
        {
            offsets.Add(i);
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
                i++;
        }
        offsets.Add(text.Length);
        return [.. offsets];
    }
}
