using System.Text;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Methods;

/// <summary>The string methods whose results are pieces of the text: each piece keeps the origin of its characters.</summary>
internal static class TextSplitting
{
    /// <summary>str.strip, lstrip and rstrip; chars null strips white space.</summary>
    public static StringValue Strip(RenderState state, StringValue text, StringValue? chars, bool left, bool right)
    {
        string s = text.Text;
        state.ChargeText(0, s.Length);
        HashSet<Rune>? set = chars is null ? null : [.. chars.Text.EnumerateRunes()];
        int start = 0, end = s.Length;
        while (left && start < end && Rune.DecodeFromUtf16(s.AsSpan(start, end - start), out Rune rune, out int used) >= 0 && IsStripped(rune))
            start += used;
        while (right && end > start && Rune.DecodeLastFromUtf16(s.AsSpan(start, end - start), out Rune rune, out int used) >= 0 && IsStripped(rune))
            end -= used;
        return text.Slice(start, end - start);

        bool IsStripped(Rune rune) => set?.Contains(rune) ?? (rune.IsBmp && PythonText.IsSpace((char)rune.Value));
    }

    /// <summary>str.split: at white space where the separator is null, at most maxSplit times where that is not negative.</summary>
    public static Value[] Split(RenderState state, StringValue text, StringValue? separator, int maxSplit)
    {
        List<Value> pieces = [];
        string s = text.Text;
        int left = maxSplit < 0 ? int.MaxValue : maxSplit;
        int start = 0;
        if (separator is null)
        {
            state.ChargeText(0, s.Length);
            while (true)
            {
                while (start < s.Length && PythonText.IsSpace(s[start]))
                    start++;
                if (start == s.Length)
                    return [.. pieces];
                if (left-- == 0)
                {
                    Add(state, pieces, text, start, s.Length); // the rest keeps its trailing white space
                    return [.. pieces];
                }
                int end = start;
                while (end < s.Length && !PythonText.IsSpace(s[end]))
                    end++;
                Add(state, pieces, text, start, end);
                start = end;
            }
        }
        string cut = RequireSeparator(separator);
        for (int next; left > 0 && (next = TextSearch.IndexOf(state, s, cut, start, s.Length)) >= 0; left--)
        {
            Add(state, pieces, text, start, next);
            start = next + cut.Length;
        }
        Add(state, pieces, text, start, s.Length);
        return [.. pieces];
    }

    /// <summary>str.rsplit: the same from the end.</summary>
    public static Value[] SplitFromEnd(RenderState state, StringValue text, StringValue? separator, int maxSplit)
    {
        if (maxSplit < 0)
            return Split(state, text, separator, maxSplit);
        List<Value> pieces = [];
        string s = text.Text;
        int end = s.Length;
        if (separator is null)
        {
            state.ChargeText(0, s.Length);
            while (true)
            {
                while (end > 0 && PythonText.IsSpace(s[end - 1]))
                    end--;
                if (end == 0)
                    break;
                if (pieces.Count == maxSplit)
                {
                    Add(state, pieces, text, 0, end); // the rest keeps its leading white space
                    break;
                }
                int start = end;
                while (start > 0 && !PythonText.IsSpace(s[start - 1]))
                    start--;
                Add(state, pieces, text, start, end);
                end = start;
            }
        }
        else
        {
            string cut = RequireSeparator(separator);
            for (int last; pieces.Count < maxSplit && (last = TextSearch.LastIndexOf(state, s, cut, 0, end)) >= 0; end = last)
                Add(state, pieces, text, last + cut.Length, end);
            Add(state, pieces, text, 0, end);
        }
        pieces.Reverse();
        return [.. pieces];
    }

    /// <summary>str.splitlines: a line end that ends the text begins no further line.</summary>
    public static Value[] SplitLines(RenderState state, StringValue text, bool keepEnds)
    {
        List<Value> lines = [];
        string s = text.Text;
        state.ChargeText(0, s.Length);
        for (int start = 0; start < s.Length;)
        {
            int end = start;
            while (end < s.Length && !PythonText.IsLineEnd(s[end]))
                end++;
            int next = end == s.Length ? end : s[end] == '\r' && end + 1 < s.Length && s[end + 1] == '\n' ? end + 2 : end + 1;
            Add(state, lines, text, start, keepEnds ? next : end);
            start = next;
        }
        return [.. lines];
    }

    /// <summary>str.partition and rpartition: before, separator and after; the text alone where it has no separator.</summary>
    public static TupleValue Partition(RenderState state, StringValue text, StringValue separator, bool fromEnd)
    {
        string s = text.Text, cut = RequireSeparator(separator);
        int at = fromEnd ? TextSearch.LastIndexOf(state, s, cut, 0, s.Length) : TextSearch.IndexOf(state, s, cut, 0, s.Length);
        state.ChargeText(0, s.Length);
        StringValue empty = StringValue.Empty.AsMarkup(text.IsMarkup);
        if (at < 0)
            return fromEnd ? new TupleValue(empty, empty, text) : new TupleValue(text, empty, empty);
        int after = at + cut.Length;
        return new TupleValue(text.Slice(0, at), text.Slice(at, cut.Length), text.Slice(after, s.Length - after));
    }

    private static void Add(RenderState state, List<Value> pieces, StringValue text, int start, int end)
    {
        state.Step();
        state.ChargeText(0, end - start);
        pieces.Add(text.Slice(start, end - start));
    }

    private static string RequireSeparator(StringValue separator) =>
        separator.Text.Length > 0 ? separator.Text : throw Fault.Value("empty separator");
}
