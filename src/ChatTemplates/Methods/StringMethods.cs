using System.Globalization;
using System.Numerics;
using System.Text;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Methods;

/// <summary>The methods of Python's str.</summary>
/// <remarks>
/// A method that cuts or joins keeps the origin of every character; one that rewrites the text (upper, expandtabs, format, ...) gives a result that
/// counts as the request's where any of its input does. On Markup a method escapes its arguments and gives Markup.
/// </remarks>
internal static class StringMethods
{
    private delegate Value Method(RenderState state, StringValue text, Arguments arguments);

    private static readonly Dictionary<string, Method> s_methods = new(StringComparer.Ordinal)
    {
        ["upper"] = Rewrite("upper", TextCase.Upper),
        ["lower"] = Rewrite("lower", TextCase.Lower),
        ["title"] = Rewrite("title", TextCase.Title),
        ["capitalize"] = Rewrite("capitalize", TextCase.Capitalize),
        ["swapcase"] = Rewrite("swapcase", TextCase.SwapCase),
        ["casefold"] = Rewrite("casefold", TextCase.CaseFold),
        ["strip"] = (state, text, arguments) => Strip(state, text, arguments, true, true),
        ["lstrip"] = (state, text, arguments) => Strip(state, text, arguments, true, false),
        ["rstrip"] = (state, text, arguments) => Strip(state, text, arguments, false, true),
        ["split"] = (state, text, arguments) => Split(state, text, arguments, TextSplitting.Split),
        ["rsplit"] = (state, text, arguments) => Split(state, text, arguments, TextSplitting.SplitFromEnd),
        ["splitlines"] = (state, text, arguments) =>
            new ListValue(TextSplitting.SplitLines(state, text, arguments.Bind("splitlines", 0, "keepends")[0]?.IsTrue ?? false)),
        ["partition"] = (state, text, arguments) =>
            TextSplitting.Partition(state, text, RequireText(arguments.RequirePositional("partition", 1, 1)[0]), false),
        ["rpartition"] = (state, text, arguments) =>
            TextSplitting.Partition(state, text, RequireText(arguments.RequirePositional("rpartition", 1, 1)[0]), true),
        ["replace"] = Replace,
        ["join"] = (state, text, arguments) => Join(state, text, arguments.RequirePositional("join", 1, 1)[0]),
        ["removeprefix"] = RemovePrefix,
        ["removesuffix"] = RemoveSuffix,
        ["startswith"] = (state, text, arguments) => BoolValue.Of(HasAffix(state, text, arguments, "startswith", false)),
        ["endswith"] = (state, text, arguments) => BoolValue.Of(HasAffix(state, text, arguments, "endswith", true)),
        ["find"] = (state, text, arguments) => new IntValue(Find(state, text, arguments, "find", false)),
        ["rfind"] = (state, text, arguments) => new IntValue(Find(state, text, arguments, "rfind", true)),
        ["index"] = (state, text, arguments) => new IntValue(RequireFound(Find(state, text, arguments, "index", false))),
        ["rindex"] = (state, text, arguments) => new IntValue(RequireFound(Find(state, text, arguments, "rindex", true))),
        ["count"] = Count,
        ["center"] = (state, text, arguments) => Pad(state, text, arguments, "center", TextAlignment.Center),
        ["ljust"] = (state, text, arguments) => Pad(state, text, arguments, "ljust", TextAlignment.Left),
        ["rjust"] = (state, text, arguments) => Pad(state, text, arguments, "rjust", TextAlignment.Right),
        ["zfill"] = ZeroFill,
        ["expandtabs"] = ExpandTabs,
        ["translate"] = Translate,
        ["format"] = (state, text, arguments) => BraceFormat.Apply(state, text, arguments),
        ["format_map"] = FormatMap,
        ["isspace"] = Test("isspace", static text => All(text, static rune => rune.IsBmp && PythonText.IsSpace((char)rune.Value))),
        ["isascii"] = Test("isascii", static text => Ascii.IsValid(text)),
        ["isalpha"] = Test("isalpha", static text => All(text, Rune.IsLetter)),
        ["isdecimal"] = Test("isdecimal", static text => All(text, IsDecimal)),
        ["isdigit"] = Test("isdigit", static text => All(text, IsDigit)),
        ["isnumeric"] = Test("isnumeric", static text => All(text, IsNumeric)),
        ["isalnum"] = Test("isalnum", static text => All(text, static rune => Rune.IsLetter(rune) || IsNumeric(rune))),
        ["islower"] = Test("islower", static text => TextCase.IsAll(text, false)),
        ["isupper"] = Test("isupper", static text => TextCase.IsAll(text, true)),
        ["istitle"] = Test("istitle", TextCase.IsTitle),
        ["isprintable"] = Test("isprintable", static text => text.Length == 0 || All(text, PythonText.IsPrintable)),
        ["isidentifier"] = Test("isidentifier", IsIdentifier),
    };

    /// <summary>A method bound to a text, or null.</summary>
    public static Value? Find(StringValue text, string name) =>
        s_methods.TryGetValue(name, out Method? method) ? new FunctionValue((state, arguments) => method(state, text, arguments)) : null;

    /// <summary>text.replace(old, new, count); a negative count replaces all.</summary>
    public static StringValue Replace(RenderState state, StringValue text, StringValue old, StringValue replacement, int count)
    {
        string s = text.Text, wanted = old.Text;
        StringAssembler result = new(state);
        int start = 0;
        long left = count < 0 ? long.MaxValue : count;
        if (wanted.Length == 0)
        {
            for (int i = 0; i <= text.Length && left > 0; i++, left--)
            {
                state.Step();
                result.Append(text, start, text.Offset(i) - start).Append(replacement);
                start = text.Offset(i);
            }
        }
        else
        {
            for (int next; left > 0 && (next = TextSearch.IndexOf(state, s, wanted, start, s.Length)) >= 0; left--)
            {
                state.Step();
                result.Append(text, start, next - start).Append(replacement);
                start = next + wanted.Length;
            }
            if (start == 0)
                return text;
        }
        return result.Append(text, start, s.Length - start).ToValue().AsMarkup(text.IsMarkup);
    }

    /// <summary>A text argument, or a type error.</summary>
    public static StringValue RequireText(Value value) =>
        value as StringValue ?? throw Fault.Type($"a string is required, not '{value.TypeName}'");

    /// <summary>isdigit for one character.</summary>
    public static bool IsDigit(Rune rune) => IsDecimal(rune) || (rune.IsBmp && CharUnicodeInfo.GetDigitValue((char)rune.Value) >= 0);

    private static bool IsDecimal(Rune rune) => Rune.GetUnicodeCategory(rune) == UnicodeCategory.DecimalDigitNumber;

    private static bool IsNumeric(Rune rune) => Rune.GetNumericValue(rune) != -1;

    private static bool All(string text, Func<Rune, bool> test)
    {
        foreach (Rune rune in text.EnumerateRunes())
            if (!test(rune))
                return false;
        return text.Length > 0;
    }

    private static bool IsIdentifier(string text) =>
        text.Length > 0 && !char.IsDigit(text[0]) && All(text, static rune => rune.Value == '_' || Rune.IsLetterOrDigit(rune));

    private static Method Rewrite(string name, Func<string, string> rewrite) => (state, text, arguments) =>
    {
        arguments.RequirePositional(name, 0, 0);
        state.ChargeText(0, text.Text.Length * 8L);
        return text.Rebuilt(rewrite(text.Text));
    };

    private static Method Test(string name, Func<string, bool> test) => (state, text, arguments) =>
    {
        arguments.RequirePositional(name, 0, 0);
        state.ChargeText(0, text.Text.Length);
        return BoolValue.Of(test(text.Text));
    };

    private static StringValue Strip(RenderState state, StringValue text, Arguments arguments, bool left, bool right)
    {
        Value? chars = arguments.Bind("strip", 0, "chars")[0];
        return TextSplitting.Strip(state, text, chars is null or NoneValue ? null : RequireText(chars), left, right);
    }

    private static ListValue Split(
        RenderState state, StringValue text, Arguments arguments, Func<RenderState, StringValue, StringValue?, int, Value[]> split)
    {
        Value?[] bound = arguments.Bind("split", 0, "sep", "maxsplit");
        return new ListValue(split(state, text, bound[0] is null or NoneValue ? null : RequireText(bound[0]!), bound[1]?.RequireInt32() ?? -1));
    }

    private static StringValue Replace(RenderState state, StringValue text, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("replace", 2, "old", "new", "count");
        StringValue replacement = RequireText(bound[1]!);
        if (text.IsMarkup)
            replacement = MarkupText.Escape(state, replacement);
        return Replace(state, text, RequireText(bound[0]!), replacement, bound[2]?.RequireInt32() ?? -1);
    }

    private static StringValue Join(RenderState state, StringValue separator, Value items)
    {
        StringAssembler joined = new(state);
        int index = 0;
        foreach (Value item in Iteration.Of(state, items))
        {
            state.Step();
            if (index > 0)
                joined.Append(separator);
            if (separator.IsMarkup)
                joined.Append(MarkupText.Escape(state, item));
            else
                joined.Append(item as StringValue ?? throw Fault.Type($"sequence item {index}: expected str instance, {item.TypeName} found"));
            index++;
        }
        return joined.ToValue().AsMarkup(separator.IsMarkup);
    }

    private static StringValue RemovePrefix(RenderState state, StringValue text, Arguments arguments)
    {
        string prefix = RequireText(arguments.RequirePositional("removeprefix", 1, 1)[0]).Text;
        state.ChargeText(0, text.Text.Length);
        return text.Text.StartsWith(prefix, StringComparison.Ordinal) ? text.Slice(prefix.Length, text.Text.Length - prefix.Length) : text;
    }

    private static StringValue RemoveSuffix(RenderState state, StringValue text, Arguments arguments)
    {
        string suffix = RequireText(arguments.RequirePositional("removesuffix", 1, 1)[0]).Text;
        state.ChargeText(0, text.Text.Length);
        return text.Text.EndsWith(suffix, StringComparison.Ordinal) ? text.Slice(0, text.Text.Length - suffix.Length) : text;
    }

    private static bool HasAffix(RenderState state, StringValue text, Arguments arguments, string method, bool atEnd)
    {
        Value[] bound = arguments.RequirePositional(method, 1, 3);
        (int start, int end) = Window(text, bound);
        foreach (Value affix in bound[0] is TupleValue tuple ? tuple.Items : [bound[0]])
        {
            string wanted = (affix as StringValue ?? throw Fault.Type($"{method} first arg must be str or a tuple of str, not {affix.TypeName}")).Text;
            state.ChargeText(0, wanted.Length);
            state.Step();
            if (start > end || wanted.Length > end - start)
                continue;
            ReadOnlySpan<char> window = text.Text.AsSpan(start, end - start);
            if (atEnd ? window.EndsWith(wanted, StringComparison.Ordinal) : window.StartsWith(wanted, StringComparison.Ordinal))
                return true;
        }
        return false;
    }

    private static int Find(RenderState state, StringValue text, Arguments arguments, string method, bool last)
    {
        Value[] bound = arguments.RequirePositional(method, 1, 3);
        string wanted = RequireText(bound[0]).Text;
        (int start, int end) = Window(text, bound);
        int found = last ? TextSearch.LastIndexOf(state, text.Text, wanted, start, end) : TextSearch.IndexOf(state, text.Text, wanted, start, end);
        return found < 0 ? -1 : text.IndexOfOffset(found);
    }

    private static int RequireFound(int index) => index >= 0 ? index : throw Fault.Value("substring not found");

    private static IntValue Count(RenderState state, StringValue text, Arguments arguments)
    {
        Value[] bound = arguments.RequirePositional("count", 1, 3);
        string wanted = RequireText(bound[0]).Text;
        (int start, int end) = Window(text, bound);
        if (wanted.Length == 0)
            return new IntValue(start > end ? 0 : text.IndexOfOffset(end) - text.IndexOfOffset(start) + 1);
        int count = 0;
        for (int next; (next = TextSearch.IndexOf(state, text.Text, wanted, start, end)) >= 0; start = next + wanted.Length)
        {
            state.Step();
            count++;
        }
        return new IntValue(count);
    }

    /// <summary>The UTF-16 window that optional start and end arguments, in code points, leave; empty windows may have start above end.</summary>
    private static (int Start, int End) Window(StringValue text, Value[] bound)
    {
        int length = text.Length;
        int start = Bound(1, 0), end = Bound(2, length);
        return start > length ? (int.MaxValue, end) : (text.Offset(start), text.Offset(Math.Min(end, length)));

        int Bound(int at, int absent)
        {
            if (bound.Length <= at || bound[at] is NoneValue)
                return absent;
            int index = bound[at].RequireInt32();
            return index < 0 ? Math.Max(0, index + length) : index;
        }
    }

    private static StringValue Pad(RenderState state, StringValue text, Arguments arguments, string method, TextAlignment alignment)
    {
        Value[] bound = arguments.RequirePositional(method, 1, 2);
        StringValue fill = bound.Length > 1 ? RequireText(bound[1]) : StringValue.Template(" ");
        return fill.Length == 1
            ? TextPadding.Pad(state, text, bound[0].RequireInt32(), fill, alignment)
            : throw Fault.Type("The fill character must be exactly one character long");
    }

    private static StringValue ZeroFill(RenderState state, StringValue text, Arguments arguments)
    {
        int width = arguments.RequirePositional("zfill", 1, 1)[0].RequireInt32();
        int sign = text.Text.Length > 0 && text.Text[0] is '+' or '-' ? 1 : 0;
        return new StringAssembler(state).Append(text, 0, sign).AppendRepeated(StringValue.Template("0"), (long)width - text.Length)
            .Append(text, sign, text.Text.Length - sign).ToValue().AsMarkup(text.IsMarkup);
    }

    private static StringValue ExpandTabs(RenderState state, StringValue text, Arguments arguments)
    {
        int size = arguments.Bind("expandtabs", 0, "tabsize")[0]?.RequireInt32() ?? 8;
        StringAssembler expanded = new(state);
        int column = 0;
        for (int i = 0; i < text.Length; i++)
        {
            state.Step();
            int at = text.Offset(i);
            char c = text.Text[at];
            if (c == '\t')
            {
                int spaces = size > 0 ? size - column % size : 0;
                expanded.AppendRepeated(StringValue.Of(" ", text.IsDataAt(at)), spaces);
                column += spaces;
                continue;
            }
            expanded.Append(text, at, text.Offset(i + 1) - at);
            column = c is '\n' or '\r' ? 0 : column + 1;
        }
        return expanded.ToValue().AsMarkup(text.IsMarkup);
    }

    private static StringValue Translate(RenderState state, StringValue text, Arguments arguments)
    {
        Value table = arguments.RequirePositional("translate", 1, 1)[0];
        StringAssembler translated = new(state);
        for (int i = 0; i < text.Length; i++)
        {
            state.Step();
            int at = text.Offset(i);
            int code = char.IsSurrogatePair(text.Text, at) ? char.ConvertToUtf32(text.Text, at) : text.Text[at];
            Value? mapped = table is DictValue dict ? dict.Get(state, new IntValue(code)) : throw Fault.Type($"'{table.TypeName}' object is not subscriptable");
            if (mapped is null)
                translated.Append(text, at, text.Offset(i + 1) - at);
            else if (mapped is StringValue replacement)
                translated.Append(replacement);
            else if (mapped is not NoneValue)
                translated.Append(Character(mapped.RequireInteger()), text.IsDataAt(at));
        }
        return translated.ToValue().AsMarkup(text.IsMarkup);
    }

    /// <summary>chr(code).</summary>
    public static string Character(BigInteger code) => code >= 0 && code <= 0x10FFFF && Rune.IsValid((int)code)
        ? new Rune((int)code).ToString()
        : throw Fault.Value("character code not in range(0x110000) or a surrogate");

    private static StringValue FormatMap(RenderState state, StringValue text, Arguments arguments)
    {
        Value map = arguments.RequirePositional("format_map", 1, 1)[0];
        if (map is not DictValue dict)
            throw Fault.Type("format_map() argument must be a mapping");
        KeyValuePair<string, Value>[] named = [.. dict.Entries.Where(entry => entry.Key is StringValue).Select(
            entry => new KeyValuePair<string, Value>(((StringValue)entry.Key).Text, entry.Value))];
        return BraceFormat.Apply(state, text, new Arguments([], named));
    }
}
