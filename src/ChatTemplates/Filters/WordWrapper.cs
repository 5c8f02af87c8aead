using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Filters;

/// <summary>Breaks a paragraph into lines of at most a width, at white space, after hyphens between letters, or inside a word that is too long.</summary>
internal sealed class WordWrapper(RenderState state, int width, bool breakLongWords, bool breakOnHyphens)
{
    /// <summary>The lines of one paragraph, without the white space at their ends.</summary>
    public List<StringValue> Wrap(StringValue paragraph)
    {
        List<StringValue> lines = [];
        string text = paragraph.Text;
        int start = 0, end = 0; // the line so far, as offsets of the paragraph
        for (int at = 0; at < text.Length;)
        {
            state.Step();
            int next = ChunkEnd(text, at);
            bool isSpace = IsSpace(text[at]);
            if (start == end)
            {
                if (isSpace && lines.Count > 0)
                {
                    at = next;
                    continue;
                }
                start = end = at;
            }
            if (Length(paragraph, start, next) <= width)
            {
                at = end = next;
                continue;
            }
            if (!isSpace && Length(paragraph, at, next) > width)
            {
                int room = width - Length(paragraph, start, at);
                if (breakLongWords && room > 0)
                    at = end = paragraph.Offset(paragraph.IndexOfOffset(at) + room);
                else if (!breakLongWords && start == at)
                    at = end = next;
            }
            Add(lines, paragraph, start, end);
            start = end = at;
        }
        Add(lines, paragraph, start, end);
        return lines;
    }

    private static int Length(StringValue text, int start, int end) => text.IndexOfOffset(end) - text.IndexOfOffset(start);

    private void Add(List<StringValue> lines, StringValue paragraph, int start, int end)
    {
        state.ChargeText(0, end - start);
        while (end > start && IsSpace(paragraph.Text[end - 1]))
            end--;
        if (end > start)
            lines.Add(paragraph.Slice(start, end - start));
    }

    private int ChunkEnd(string text, int at)
    {
        bool isSpace = IsSpace(text[at]);
        for (int end = at + 1; end < text.Length; end++)
        {
            if (IsSpace(text[end]) != isSpace)
                return end;
            bool betweenLetters = end >= at + 2 && end + 1 < text.Length && text[end - 1] == '-' && char.IsLetter(text[end - 2]) &&
                char.IsLetter(text[end]) && char.IsLetter(text[end + 1]);
            if (breakOnHyphens && betweenLetters && end >= at + 3 && char.IsLetter(text[end - 3]))
                return end;
        }
        return text.Length;
    }

    private static bool IsSpace(char c) => c is ' ' or '\t' or '\n' or '\v' or '\f' or '\r';
}
