using System.Text;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Methods;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Filters;

/// <summary>The filters that make text of text; most print a value of another type first.</summary>
internal static class TextFilters
{
    public static Value Upper(RenderState state, Arguments arguments) => Rewrite(state, arguments, "upper", TextCase.Upper);

    public static Value Lower(RenderState state, Arguments arguments) => Rewrite(state, arguments, "lower", TextCase.Lower);

    public static Value Capitalize(RenderState state, Arguments arguments) => Rewrite(state, arguments, "capitalize", TextCase.Capitalize);

    /// <summary>Unlike str.title this begins words only after white space, hyphens and opening brackets.</summary>
    public static Value Title(RenderState state, Arguments arguments) => Rewrite(state, arguments, "title", BeginWords).AsMarkup(false);

    private static string BeginWords(string text)
    {
        StringBuilder title = new(text.Length);
        for (int at = 0; at < text.Length;)
        {
            int end = at;
            bool isGap = IsWordGap(text[at]);
            while (end < text.Length && IsWordGap(text[end]) == isGap)
                end++;
            int first = char.IsHighSurrogate(text[at]) && at + 1 < end ? 2 : 1;
            title.Append(TextCase.Upper(text.Substring(at, first))).Append(TextCase.Lower(text[(at + first)..end]));
            at = end;
        }
        return title.ToString();
    }

    public static Value Trim(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("trim", 1, "value", "chars");
        StringValue? chars = bound[1] is null or NoneValue ? null : StringMethods.RequireText(bound[1]!);
        return TextSplitting.Strip(state, PythonText.Str(state, bound[0]!), chars, true, true);
    }

    public static Value Replace(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("replace", 3, "s", "old", "new", "count");
        int count = bound[3] is null or NoneValue ? -1 : bound[3]!.RequireInt32();
        return StringMethods.Replace(
            state, PythonText.Str(state, bound[0]!).AsMarkup(false), PythonText.Str(state, bound[1]!), PythonText.Str(state, bound[2]!), count);
    }

    public static Value Join(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("join", 1, "value", "d", "attribute");
        StringValue separator = PythonText.Str(state, bound[1] ?? StringValue.Empty);
        bool hasPath = bound[2] is not (null or NoneValue);
        Value[] path = Attributes.ParsePath(bound[2]);
        StringAssembler joined = new(state);
        bool isFirst = true;
        foreach (Value item in Iteration.Of(state, bound[0]!))
        {
            state.Step();
            if (!isFirst)
                joined.Append(separator);
            isFirst = false;
            joined.Append(PythonText.Str(state, hasPath ? Attributes.GetPath(state, item, path) : item));
        }
        return joined.ToValue();
    }

    public static Value Center(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("center", 1, "value", "width");
        return TextPadding.Pad(state, PythonText.Str(state, bound[0]!), bound[1]?.RequireInt32() ?? 80, StringValue.Template(" "), TextAlignment.Center);
    }

    /// <summary>text|format(values): printf-style.</summary>
    public static Value Format(RenderState state, Arguments arguments)
    {
        if (arguments.Positional.Length > 1 && arguments.Named.Length > 0)
            throw Fault.Type("can't handle positional and keyword arguments at the same time");
        StringValue format = PythonText.Str(state, arguments.Positional[0]);
        if (arguments.Named.Length == 0)
            return PercentFormat.Apply(state, format, new TupleValue(arguments.Positional[1..]));
        DictValue values = new();
        foreach ((string name, Value value) in arguments.Named)
            values.Set(state, StringValue.Template(name), value);
        return PercentFormat.Apply(state, format, values);
    }

    public static Value Indent(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("indent", 1, "s", "width", "first", "blank");
        StringValue text = bound[0] as StringValue ?? throw (bound[0] is UndefinedValue undefined
            ? undefined.Fail()
            : Fault.Type($"unsupported operand type(s) for +=: '{bound[0]!.TypeName}' and 'str'"));
        StringValue indention = bound[1] as StringValue ??
            new StringAssembler(state).AppendRepeated(StringValue.Template(" "), bound[1]?.RequireInt32() ?? 4).ToValue();
        bool first = bound[2]?.IsTrue ?? false, blank = bound[3]?.IsTrue ?? false;
        StringValue newline = StringValue.Template("\n");
        Value[] lines = TextSplitting.SplitLines(state, Arithmetic.Concat(state, text, newline), false);
        StringAssembler indented = new(state);
        for (int i = 0; i < lines.Length; i++)
        {
            StringValue line = (StringValue)lines[i];
            if (i > 0)
                indented.Append(newline);
            if (i == 0 ? first : blank || line.Text.Length > 0)
                indented.Append(indention);
            indented.Append(line);
        }
        return indented.ToValue().AsMarkup(text.IsMarkup);
    }

    public static Value Truncate(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("truncate", 1, "s", "length", "killwords", "end", "leeway");
        StringValue end = StringMethods.RequireText(bound[3] ?? StringValue.Template("..."));
        int length = bound[1]?.RequireInt32() ?? 255;
        int leeway = bound[4] is null or NoneValue ? 5 : bound[4]!.RequireInt32();
        if (length < end.Length || leeway < 0)
            throw Fault.Value($"expected length >= {end.Length} and leeway >= 0, got {length} and {leeway}");
        int actual = Iteration.Length(bound[0]!) ?? throw Fault.Type($"object of type '{bound[0]!.TypeName}' has no len()");
        if (actual <= (long)length + leeway)
            return bound[0]!;
        StringValue text = StringMethods.RequireText(bound[0]!);
        StringValue kept = text.SliceCodePoints(0, length - end.Length);
        if (!(bound[2]?.IsTrue ?? false))
            kept = (StringValue)TextSplitting.SplitFromEnd(state, kept, StringValue.Template(" "), 1)[0];
        return Arithmetic.Add(state, kept, end);
    }

    public static Value WordCount(RenderState state, Arguments arguments)
    {
        string text = PythonText.Str(state, arguments.Bind("wordcount", 1, "s")[0]!).Text;
        state.ChargeText(0, text.Length);
        int words = 0;
        bool inWord = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool isWord = rune.Value == '_' || Rune.IsLetterOrDigit(rune) || Rune.GetNumericValue(rune) >= 0;
            words += isWord && !inWord ? 1 : 0;
            inWord = isWord;
        }
        return new IntValue(words);
    }

    public static Value WordWrap(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("wordwrap", 1, "s", "width", "break_long_words", "wrapstring", "break_on_hyphens");
        StringValue text = StringMethods.RequireText(bound[0]!);
        int width = bound[1]?.RequireInt32() ?? 79;
        if (width <= 0)
            throw Fault.Value($"invalid width {width} (must be > 0)");
        StringValue wrap = bound[3] is null or NoneValue ? StringValue.Template("\n") : StringMethods.RequireText(bound[3]!);
        WordWrapper wrapper = new(state, width, bound[2]?.IsTrue ?? true, bound[4]?.IsTrue ?? true);
        StringAssembler wrapped = new(state);
        bool isFirst = true;
        foreach (Value paragraph in TextSplitting.SplitLines(state, text, false))
        {
            if (!isFirst)
                wrapped.Append(wrap);
            isFirst = false;
            bool isFirstLine = true;
            foreach (StringValue line in wrapper.Wrap((StringValue)paragraph))
            {
                if (!isFirstLine)
                    wrapped.Append(wrap);
                isFirstLine = false;
                wrapped.Append(line);
            }
        }
        return wrapped.ToValue();
    }

    private static StringValue Rewrite(RenderState state, Arguments arguments, string name, Func<string, string> rewrite)
    {
        StringValue text = PythonText.Str(state, arguments.Bind(name, 1, "s")[0]!);
        state.ChargeText(0, text.Text.Length * 8L);
        return text.Rebuilt(rewrite(text.Text));
    }

    private static bool IsWordGap(char c) => PythonText.IsSpace(c) || c is '-' or '(' or '{' or '[' or '<';
}
