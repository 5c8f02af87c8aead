using TpServe.ChatTemplates.Evaluation;

namespace TpServe.ChatTemplates.Values;

/// <summary>Finds text in text in linear time, so that no pair of long texts outruns the limits.</summary>
internal static class TextSearch
{
    /// <summary>Up to this length of the needle the vectorised search's worst case (length times length) is harmless.</summary>
    private const int ShortNeedle = 32;

    /// <summary>The first offset in [start, end] at which the needle lies wholly before end, or -1. UTF-16 offsets.</summary>
    public static int IndexOf(RenderState state, string text, string needle, int start, int end)
    {
        if (start > end || needle.Length > end - start)
            return -1;
        state.ChargeText(0, end - start);
        if (needle.Length > ShortNeedle)
            return IndexOfLong(text, needle, start, end);
        int found = text.AsSpan(start, end - start).IndexOf(needle, StringComparison.Ordinal);
        return found < 0 ? -1 : found + start;
    }

    /// <summary>The last offset in [start, end] at which the needle lies wholly before end, or -1.</summary>
    public static int LastIndexOf(RenderState state, string text, string needle, int start, int end)
    {
        if (start > end || needle.Length > end - start)
            return -1;
        if (needle.Length == 0)
            return end;
        state.ChargeText(0, end - start);
        if (needle.Length > ShortNeedle)
        {
            int last = -1;
            for (int next = IndexOfLong(text, needle, start, end); next >= 0; next = IndexOfLong(text, needle, next + 1, end))
            {
                state.ChargeText(0, end - next);
                last = next;
            }
            return last;
        }
        int found = text.AsSpan(start, end - start).LastIndexOf(needle, StringComparison.Ordinal);
        return found < 0 ? -1 : found + start;
    }

    /// <summary>Knuth, Morris and Pratt: the needle's own borders say how far a mismatch lets it move.</summary>
    private static int IndexOfLong(string text, string needle, int start, int end)
    {
        int[] borders = new int[needle.Length];
        for (int i = 1, border = 0; i < needle.Length; i++)
        {
            while (border > 0 && needle[i] != needle[border])
                border = borders[border - 1];
            if (needle[i] == needle[border])
                border++;
            borders[i] = border;
        }
        for (int i = start, matched = 0; i < end; i++)
        {
            while (matched > 0 && text[i] != needle[matched])
                matched = borders[matched - 1];
            if (text[i] == needle[matched])
                matched++;
            if (matched == needle.Length)
                return i - needle.Length + 1;
        }
        return -1;
    }
}
