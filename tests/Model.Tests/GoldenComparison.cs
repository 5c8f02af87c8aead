using NUnit.Framework;
using TpServe.Model.Sampling;

namespace TpServe.Model.Tests;

/// <summary>How far results are from a golden model's cases, by the measures of the golden set.</summary>
internal sealed class GoldenComparison
{
    private double _kl;
    private int _sameTop;

    /// <summary>Positions compared.</summary>
    public int Positions { get; private set; }

    /// <summary>Largest |Δ logprob| over prompt_logprobs and top_logprobs.</summary>
    public double LargestDifference { get; private set; }

    /// <summary>KL(expected ‖ ours), mean over all positions.</summary>
    public double MeanKl => _kl / Positions;

    /// <summary>Share of positions where the likeliest token is the same.</summary>
    public double Top1Agreement => (double)_sameTop / Positions;

    public void Add(GoldenCase expected, JobResult actual)
    {
        Assert.That(actual.Rows, Has.Count.EqualTo(expected.PromptTokenIds.Length));
        for (int i = 0; i < actual.Rows.Count; i++)
        {
            TokenLogprobs ours = actual.Rows[i];
            Dictionary<int, float> byId = ours.TopIds.Zip(ours.TopLogprobs).ToDictionary(pair => pair.First, pair => pair.Second);
            if (i + 1 < actual.Rows.Count)
                Differ(ours.Logprob, expected.PromptLogprobs[i + 1]!.Value);
            for (int j = 0; j < expected.TopIds[i].Length; j++)
                Differ(byId[expected.TopIds[i][j]], expected.TopLogprobs[i][j]);
            bool whole = i + 1 == actual.Rows.Count && expected.LastLogitsLogprobs.Length > 0;
            _kl += whole
                ? Divergence(expected.LastLogitsLogprobs, [.. Enumerable.Range(0, expected.LastLogitsLogprobs.Length).Select(id => byId[id])])
                : Divergence(expected.TopLogprobs[i], [.. expected.TopIds[i].Select(id => byId[id])]);
            Positions++;
            _sameTop += ours.TopIds[0] == expected.TopIds[i][0] ? 1 : 0;
        }
    }

    /// <summary>Greedy tokens are equal up to the first position whose gap to the runner-up is below <paramref name="least"/>.</summary>
    public static void AssertGreedy(GoldenCase expected, JobResult actual, double least)
    {
        int clear = Array.FindIndex(expected.GreedyGaps, gap => gap < least);
        if (clear < 0)
            clear = expected.GreedyTokenIds.Length;
        Assert.That(actual.Tokens.Take(clear), Is.EqualTo(expected.GreedyTokenIds.Take(clear)));
    }

    private void Differ(double ours, double expected) => LargestDifference = Math.Max(LargestDifference, Math.Abs(ours - expected));

    /// <summary>KL over the given logprobs, with what they leave as one more bucket.</summary>
    public static double Divergence(IReadOnlyList<float> expected, IReadOnlyList<float> ours)
    {
        double kl = 0, restExpected = 1, restOurs = 1;
        for (int i = 0; i < expected.Count; i++)
        {
            double p = Math.Exp(expected[i]);
            kl += p * ((double)expected[i] - ours[i]);
            restExpected -= p;
            restOurs -= Math.Exp(ours[i]);
        }
        // Rounding in the file can leave a rest that is not there.
        if (restExpected > 1e-5 && restOurs > 1e-9)
            kl += restExpected * Math.Log(restExpected / restOurs);
        return kl;
    }
}
