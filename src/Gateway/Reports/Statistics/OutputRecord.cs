using System.Globalization;

namespace TpServe.Gateway.Reports.Statistics;

/// <summary>All that one answer says of tokens and numbers, for comparison bit by bit.</summary>
/// <param name="Name">What was asked, as a difference names it: "prompt 2".</param>
/// <param name="Positions">One for each token; the first of a prompt has no logprob, which is NaN here.</param>
internal sealed record OutputRecord(string Name, IReadOnlyList<PositionLogprobs> Positions)
{
    /// <summary>Values that a comparison looks at: each an id or a logprob.</summary>
    public long Values => Positions.Sum(position => 2L + (2 * position.Top.Count));

    /// <summary>The first difference in words; null where every id and every bit of every logprob is the same.</summary>
    /// <remarks>Threads   pure.</remarks>
    public static string? FirstDifference(IReadOnlyList<OutputRecord> one, IReadOnlyList<OutputRecord> other)
    {
        if (one.Count != other.Count)
            return Say($"{one.Count} answers against {other.Count}");
        foreach ((OutputRecord mine, OutputRecord theirs) in one.Zip(other))
        {
            int shared = Math.Min(mine.Positions.Count, theirs.Positions.Count);
            for (int i = 0; i < shared; i++)
                if (Difference(mine.Positions[i], theirs.Positions[i]) is { } difference)
                    return Say($"{mine.Name}, token {i}: {difference}");
            if (mine.Positions.Count != theirs.Positions.Count)
                return Say($"{mine.Name}: {mine.Positions.Count} tokens against {theirs.Positions.Count}");
        }
        return null;
    }

    private static string? Difference(PositionLogprobs mine, PositionLogprobs theirs)
    {
        if (mine.Token != theirs.Token)
            return Say($"id {mine.Token} against {theirs.Token}");
        if (!SameBits(mine.Logprob, theirs.Logprob))
            return Say($"logprob {mine.Logprob:R} against {theirs.Logprob:R}");
        if (mine.Top.Count != theirs.Top.Count)
            return Say($"{mine.Top.Count} likeliest tokens against {theirs.Top.Count}");
        for (int place = 0; place < mine.Top.Count; place++)
        {
            if (mine.Top[place].Token != theirs.Top[place].Token)
                return Say($"place {place + 1} of the likeliest: id {mine.Top[place].Token} against {theirs.Top[place].Token}");
            if (!SameBits(mine.Top[place].Logprob, theirs.Top[place].Logprob))
                return Say($"place {place + 1} of the likeliest: logprob {mine.Top[place].Logprob:R} against {theirs.Top[place].Logprob:R}");
        }
        return null;
    }

    // Not ==, which calls 0 and −0 the same and NaN another than itself.
    private static bool SameBits(float one, float other) => BitConverter.SingleToInt32Bits(one) == BitConverter.SingleToInt32Bits(other);

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
