namespace TpServe.Tokenization.AddedTokens;

/// <summary>Which stretches of a text may hold special tokens; neighbouring trusted segments are one stretch.</summary>
internal sealed class TrustedRanges
{
    private readonly (int Start, int End)[] _ranges; // ascending, apart, none empty

    private TrustedRanges((int Start, int End)[] ranges) => _ranges = ranges;

    public static TrustedRanges None { get; } = new([]);

    public static TrustedRanges All { get; } = new([(0, int.MaxValue)]);

    /// <summary>The trusted ones of segments that together are a text.</summary>
    public static TrustedRanges Of(IEnumerable<(int Length, bool Trusted)> segments)
    {
        List<(int Start, int End)> ranges = [];
        int at = 0;
        foreach ((int length, bool trusted) in segments)
        {
            if (trusted && length > 0)
            {
                if (ranges.Count > 0 && ranges[^1].End == at)
                    ranges[^1] = (ranges[^1].Start, at + length);
                else
                    ranges.Add((at, at + length));
            }
            at += length;
        }
        return new TrustedRanges([.. ranges]);
    }

    /// <summary>True where all of the stretch is trusted.</summary>
    public bool Covers(int start, int end)
    {
        int at = FirstEndingAfter(start);
        return at < _ranges.Length && _ranges[at].Start <= start && end <= _ranges[at].End;
    }

    /// <summary>True where some of the stretch is trusted.</summary>
    public bool Touches(int start, int end)
    {
        int at = FirstEndingAfter(start);
        return at < _ranges.Length && _ranges[at].Start < end;
    }

    /// <summary>The stretch cut where trust begins or ends.</summary>
    public IEnumerable<(int Length, bool Trusted)> Cut(int start, int end)
    {
        for (int i = FirstEndingAfter(start); i < _ranges.Length && _ranges[i].Start < end; i++)
        {
            int from = Math.Max(start, _ranges[i].Start);
            int to = Math.Min(end, _ranges[i].End);
            if (from > start)
                yield return (from - start, false);
            yield return (to - from, true);
            start = to;
        }
        if (start < end)
            yield return (end - start, false);
    }

    private int FirstEndingAfter(int position)
    {
        int low = 0, high = _ranges.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_ranges[middle].End > position)
                high = middle;
            else
                low = middle + 1;
        }
        return low;
    }
}
