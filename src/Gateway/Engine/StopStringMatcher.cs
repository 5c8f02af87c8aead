namespace TpServe.Gateway.Engine;

/// <summary>Finds the first stop string in a stream of text, holding back what may yet become one.</summary>
/// <remarks>
/// The first is the one that is complete first; of those complete at the same character, the longest. So the outcome does not depend on how tokens cut
/// the text. Text held back is the longest tail of the stream that is a proper beginning of some stop string.
/// Cost     each character is compared with each stop string's beginning at most once per position held back: bounded by the caps on stop strings.
/// Threads  one caller at a time.
/// </remarks>
public sealed class StopStringMatcher(IReadOnlyList<string> stops, bool includeStop)
{
    private string _held = "";

    /// <summary>The stop string that ended the stream; null = none yet.</summary>
    public string? Matched { get; private set; }

    /// <summary>Takes new text; what of the stream can be given away now. After a match the stream has ended: the rest is dropped.</summary>
    public string Push(string text)
    {
        if (Matched is not null || (text.Length == 0 && _held.Length == 0))
            return "";
        if (stops.Count == 0)
            return text;
        string pending = _held + text;
        int start = FindFirst(pending);
        if (Matched is not null)
        {
            _held = "";
            return includeStop ? pending[..(start + Matched.Length)] : pending[..start];
        }
        int keep = HeldLength(pending);
        _held = pending[(pending.Length - keep)..];
        return pending[..(pending.Length - keep)];
    }

    /// <summary>The stream has ended without a match: what was held back.</summary>
    public string Flush()
    {
        string rest = _held;
        _held = "";
        return rest;
    }

    private int FindFirst(string pending)
    {
        int first = -1, firstEnd = int.MaxValue;
        foreach (string stop in stops)
        {
            int at = pending.IndexOf(stop, StringComparison.Ordinal);
            if (at >= 0 && (at + stop.Length < firstEnd || (at + stop.Length == firstEnd && at < first)))
            {
                first = at;
                firstEnd = at + stop.Length;
                Matched = stop;
            }
        }
        return first;
    }

    private int HeldLength(string pending)
    {
        int longest = 0;
        foreach (string stop in stops)
            for (int length = Math.Min(stop.Length - 1, pending.Length); length > longest; length--)
                if (pending.AsSpan(pending.Length - length).SequenceEqual(stop.AsSpan(0, length)))
                    longest = length;
        return longest;
    }
}
