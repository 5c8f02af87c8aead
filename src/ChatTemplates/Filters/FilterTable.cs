using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Filters;

/// <summary>The filters by name. Each gets the filtered value as its first positional argument.</summary>
internal static class FilterTable
{
    private static readonly Dictionary<string, NativeFunction> s_filters = new(StringComparer.Ordinal)
    {
        ["abs"] = NumberFilters.Abs,
        ["attr"] = SequenceFilters.Attr,
        ["batch"] = SequenceFilters.Batch,
        ["capitalize"] = TextFilters.Capitalize,
        ["center"] = TextFilters.Center,
        ["count"] = SequenceFilters.Length,
        ["d"] = SequenceFilters.Default,
        ["default"] = SequenceFilters.Default,
        ["dictsort"] = OrderFilters.DictSort,
        ["e"] = HtmlFilters.Escape,
        ["escape"] = HtmlFilters.Escape,
        ["filesizeformat"] = NumberFilters.FileSizeFormat,
        ["first"] = SequenceFilters.First,
        ["float"] = NumberFilters.Float,
        ["forceescape"] = HtmlFilters.ForceEscape,
        ["format"] = TextFilters.Format,
        ["groupby"] = OrderFilters.GroupBy,
        ["indent"] = TextFilters.Indent,
        ["int"] = NumberFilters.Int,
        ["items"] = SequenceFilters.Items,
        ["join"] = TextFilters.Join,
        ["last"] = SequenceFilters.Last,
        ["length"] = SequenceFilters.Length,
        ["list"] = SequenceFilters.List,
        ["lower"] = TextFilters.Lower,
        ["map"] = SelectFilters.Map,
        ["max"] = OrderFilters.Max,
        ["min"] = OrderFilters.Min,
        ["pprint"] = static (state, arguments) => PythonText.Repr(state, arguments.Bind("pprint", 1, "value")[0]!),
        ["reject"] = SelectFilters.Reject,
        ["rejectattr"] = SelectFilters.RejectAttr,
        ["replace"] = TextFilters.Replace,
        ["reverse"] = SequenceFilters.Reverse,
        ["round"] = NumberFilters.Round,
        ["safe"] = HtmlFilters.Safe,
        ["select"] = SelectFilters.Select,
        ["selectattr"] = SelectFilters.SelectAttr,
        ["slice"] = SequenceFilters.Slice,
        ["sort"] = OrderFilters.Sort,
        ["string"] = static (state, arguments) => PythonText.Str(state, arguments.Bind("string", 1, "value")[0]!),
        ["striptags"] = HtmlFilters.StripTags,
        ["sum"] = NumberFilters.Sum,
        ["title"] = TextFilters.Title,
        ["tojson"] = JsonFilter.ToJson,
        ["trim"] = TextFilters.Trim,
        ["truncate"] = TextFilters.Truncate,
        ["unique"] = OrderFilters.Unique,
        ["upper"] = TextFilters.Upper,
        ["urlencode"] = HtmlFilters.UrlEncode,
        ["wordcount"] = TextFilters.WordCount,
        ["wordwrap"] = TextFilters.WordWrap,
        ["xmlattr"] = HtmlFilters.XmlAttr,
    };

    /// <summary>The filter of a name, or null.</summary>
    public static NativeFunction? Find(string name) => s_filters.GetValueOrDefault(name);
}
