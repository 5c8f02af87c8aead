using System.Buffers;
using System.Globalization;
using System.Net;
using System.Text;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Methods;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Filters;

/// <summary>The filters about HTML and URLs; templates mostly use safe, which changes nothing but the type.</summary>
internal static class HtmlFilters
{
    private static readonly SearchValues<char> s_attributeEnds = SearchValues.Create(" \t\n\r\f\v/>=");

    public static Value Safe(RenderState state, Arguments arguments) => PythonText.Str(state, arguments.Bind("safe", 1, "value")[0]!).AsMarkup();

    public static Value Escape(RenderState state, Arguments arguments) => MarkupText.Escape(state, arguments.Bind("escape", 1, "s")[0]!);

    public static Value ForceEscape(RenderState state, Arguments arguments) =>
        MarkupText.Escape(state, PythonText.Str(state, arguments.Bind("forceescape", 1, "value")[0]!).AsMarkup(false));

    /// <summary>Drops comments and tags, collapses white space and resolves entities.</summary>
    public static Value StripTags(RenderState state, Arguments arguments)
    {
        StringValue text = PythonText.Str(state, arguments.Bind("striptags", 1, "value")[0]!);
        state.ChargeText(0, text.Text.Length * 4L);
        string plain = Remove(Remove(text.Text, "<!--", "-->"), "<", ">");
        string[] words = plain.Split(plain.Where(PythonText.IsSpace).Distinct().ToArray(), StringSplitOptions.RemoveEmptyEntries);
        return StringValue.Of(WebUtility.HtmlDecode(string.Join(' ', words)), text.HasData);
    }

    /// <summary>Percent-encodes a text, or the pairs of a mapping or list as a query.</summary>
    public static Value UrlEncode(RenderState state, Arguments arguments)
    {
        Value value = arguments.Bind("urlencode", 1, "value")[0]!;
        if (value is StringValue || !Iteration.IsIterable(value))
            return Quote(PythonText.Str(state, value), false);
        StringAssembler query = new(state);
        foreach (Value pair in Iteration.Of(state, value is DictValue dict ? new DictViewValue(dict, DictViewKind.Items) : value))
        {
            Value[] parts = Iteration.ToArray(state, pair);
            if (parts.Length != 2)
                throw Fault.Value($"expected 2 values to unpack, got {parts.Length}");
            query.Append(query.Length > 0 ? "&" : "", false).Append(Quote(PythonText.Str(state, parts[0]), true)).Append("=", false)
                .Append(Quote(PythonText.Str(state, parts[1]), true));
        }
        return query.ToValue();

        StringValue Quote(StringValue text, bool forQuery)
        {
            state.ChargeText(text.Text.Length * 3L, text.Text.Length * 9L);
            StringBuilder quoted = new();
            foreach (byte b in Encoding.UTF8.GetBytes(text.Text))
            {
                if (char.IsAsciiLetterOrDigit((char)b) || b is (byte)'_' or (byte)'.' or (byte)'-' or (byte)'~' || (b == '/' && !forQuery))
                    quoted.Append((char)b);
                else if (b == ' ' && forQuery)
                    quoted.Append('+');
                else
                    quoted.Append(CultureInfo.InvariantCulture, $"%{b:X2}");
            }
            return StringValue.Of(quoted.ToString(), text.HasData);
        }
    }

    public static Value XmlAttr(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("xmlattr", 1, "d", "autospace");
        if (bound[0] is not DictValue dict)
            throw bound[0] is UndefinedValue undefined ? undefined.Fail() : Fault.Type($"'{bound[0]!.TypeName}' object has no attribute 'items'");
        bool space = bound[1]?.IsTrue ?? true;
        StringAssembler attributes = new(state);
        foreach ((Value key, Value value) in dict.Entries)
        {
            if (value is NoneValue or UndefinedValue)
                continue;
            StringValue name = StringMethods.RequireText(key);
            if (name.Text.AsSpan().ContainsAny(s_attributeEnds))
                throw Fault.Value($"Invalid character in attribute name: {PythonText.Quote(name.Text)}");
            attributes.Append(attributes.Length > 0 || space ? " " : "", false).Append(MarkupText.Escape(state, name)).Append("=\"", false)
                .Append(MarkupText.Escape(state, value)).Append("\"", false);
        }
        return attributes.ToValue();
    }

    private static string Remove(string text, string open, string close)
    {
        StringBuilder kept = new(text.Length);
        int at = 0;
        while (true)
        {
            int start = text.IndexOf(open, at, StringComparison.Ordinal);
            int end = start < 0 ? -1 : text.IndexOf(close, start, StringComparison.Ordinal);
            if (end < 0)
                return kept.Append(text, at, text.Length - at).ToString();
            kept.Append(text, at, start - at);
            at = end + close.Length;
        }
    }
}
