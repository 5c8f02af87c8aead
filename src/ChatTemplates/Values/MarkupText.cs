using System.Buffers;
using TpServe.ChatTemplates.Evaluation;

namespace TpServe.ChatTemplates.Values;

/// <summary>HTML escaping, and the text markupsafe calls Markup: what the safe and escape filters give.</summary>
internal static class MarkupText
{
    private static readonly SearchValues<char> s_special = SearchValues.Create("&<>'\"");

    /// <summary>Markup of any value: Markup itself unchanged, everything else printed and escaped; each character keeps its origin.</summary>
    public static StringValue Escape(RenderState state, Value value)
    {
        StringValue text = PythonText.Str(state, value);
        if (text.IsMarkup)
            return text;
        ReadOnlySpan<char> rest = text.Text;
        if (!rest.ContainsAny(s_special))
            return text.AsMarkup();
        StringAssembler escaped = new(state);
        int from = 0;
        for (int next = rest.IndexOfAny(s_special); next >= 0; next = rest[from..].IndexOfAny(s_special))
        {
            escaped.Append(text, from, next);
            from += next;
            escaped.Append(Entity(rest[from]), text.IsDataAt(from));
            from++;
        }
        return escaped.Append(text, from, rest.Length - from).ToValue().AsMarkup();
    }

    private static string Entity(char c) => c switch
    {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&#34;",
        _ => "&#39;",
    };
}
