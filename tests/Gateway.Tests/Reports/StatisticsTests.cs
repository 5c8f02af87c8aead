using CsCheck;
using NUnit.Framework;
using TpServe.Gateway.Reports.Statistics;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Reports;

public sealed class StatisticsTests
{
    // The published example of the definition, and what other programs give for it.
    [TestCase(0.05, 16)]
    [TestCase(0.3, 23)]
    [TestCase(0.4, 29)]
    [TestCase(0.5, 35)]
    [TestCase(1, 50)]
    public void Quantile_FiveValues_InterpolatesBetweenThem(double q, double expected) =>
        Assert.That(Distribution.Quantile([15, 20, 35, 40, 50], q), Is.EqualTo(expected).Within(1e-12));

    [Test]
    public void Quantile_OneValue_IsThatValue() => Assert.That(Distribution.Quantile([7], 0.99), Is.EqualTo(7));

    [Test]
    public void OfSeconds_Unordered_GivesMilliseconds()
    {
        ReportQuantiles times = Distribution.OfSeconds([0.004, 0.001, 0.003, 0.002])!;
        Assert.That(times.Count, Is.EqualTo(4));
        Assert.That(new[] { times.P50, times.P90, times.P99, times.Mean }, Is.EqualTo(new[] { 2.5, 3.7, 3.97, 2.5 }).Within(1e-9));
        Assert.That(Distribution.OfSeconds([]), Is.Null);
    }

    [Test]
    public void KarpFlatt_OfAmdahlsSpeedUp_IsItsSerialFraction() => Gen.Select(Gen.Double[0, 1], Gen.Double[1.01, 64]).Sample((serial, ratio) =>
    {
        double speedUp = 1 / (serial + ((1 - serial) / ratio));
        Assert.That(Scaling.KarpFlatt(speedUp, ratio)!.Value, Is.EqualTo(serial).Within(1e-9));
    }, iter: 200, threads: 1);

    [Test]
    public void KarpFlatt_ByHand_IsAFifth()
    {
        Assert.That(Scaling.KarpFlatt(2.5, 4)!.Value, Is.EqualTo(0.2).Within(1e-12));
        Assert.That(Scaling.Efficiency(2.5, 4), Is.EqualTo(0.625));
    }

    [TestCase(1)]
    [TestCase(0.5)]
    public void KarpFlatt_NoMoreResources_IsUndefined(double ratio) => Assert.That(Scaling.KarpFlatt(1.1, ratio), Is.Null);

    // The example in scikit-learn's documentation of f1_score(average='macro').
    [Test]
    public void MacroF1_KnownLabels_IsThePublishedValue() =>
        Assert.That(MultipleChoice.MacroF1([0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1]), Is.EqualTo(0.8 / 3).Within(1e-12));

    [Test]
    public void MacroF1_ClassOnlyChosen_CountsAsZero()
    {
        Assert.That(MultipleChoice.MacroF1([0, 0], [0, 3]), Is.EqualTo((2.0 / 3) / 2).Within(1e-12));
        Assert.That(MultipleChoice.Accuracy([0, 0], [0, 3]), Is.EqualTo(0.5));
    }

    [Test]
    public void Largest_Equal_IsTheFirst() => Assert.That(MultipleChoice.Largest([-3, -1, -1]), Is.EqualTo(1));

    [Test]
    public void Perplexity_OfAFairDie_IsItsSides() =>
        Assert.That(Likelihood.Perplexity([.. Enumerable.Repeat((float)Math.Log(1 / 8.0), 100)]), Is.EqualTo(8).Within(1e-5));

    [Test]
    public void LeastKl_ByLengthOfLists_IsExactWithAllAndNeverMore() => Gen.Select(Gen.Double[0.05, 1].Array[12], Gen.Double[0.05, 1].Array[12], Gen.Int[1, 12]).Sample((a, b, length) =>
    {
        double[] p = [.. a.Select(value => value / a.Sum())], q = [.. b.Select(value => value / b.Sum())];
        double exact = p.Zip(q).Sum(pair => pair.First * Math.Log(pair.First / pair.Second));
        Assert.That(Likelihood.LeastKl(Position(p, 12), Position(q, 12)), Is.EqualTo(exact).Within(1e-5));
        Assert.That(Likelihood.LeastKl(Position(p, length), Position(q, length)), Is.LessThanOrEqualTo(exact + 1e-5).And.GreaterThanOrEqualTo(0));
    }, iter: 200, threads: 1);

    [Test]
    public void SameLikeliest_OneOfTwo_IsAHalf() => Assert.That(
        Likelihood.SameLikeliest([Position([0.9, 0.1], 1), Position([0.9, 0.1], 1)], [Position([0.8, 0.2], 1), Position([0.2, 0.8], 1)]), Is.EqualTo(0.5));

    [Test]
    public void FirstDifference_SameBits_IsNone()
    {
        OutputRecord[] one = [Record(5, -0.5f, (5, -0.5f), (6, -1.5f)), new OutputRecord("p", [new PositionLogprobs(1, float.NaN, [])])];
        OutputRecord[] other = [Record(5, -0.5f, (5, -0.5f), (6, -1.5f)), new OutputRecord("p", [new PositionLogprobs(1, float.NaN, [])])];
        Assert.That(OutputRecord.FirstDifference(one, other), Is.Null);
        Assert.That(one.Sum(record => record.Values), Is.EqualTo(2 + 4 + 2));
    }

    [Test]
    public void FirstDifference_EachKind_NamesItsPlace()
    {
        OutputRecord one = Record(5, -0.5f, (5, -0.5f), (6, -1.5f));
        Assert.That(Difference(Record(7, -0.5f, (5, -0.5f), (6, -1.5f))), Is.EqualTo("prompt 1, token 0: id 5 against 7"));
        Assert.That(Difference(Record(5, MathF.BitIncrement(-0.5f), (5, -0.5f), (6, -1.5f))), Does.StartWith("prompt 1, token 0: logprob -0.5 against -0.49999997"));
        Assert.That(Difference(Record(5, -0.5f, (5, -0.5f), (8, -1.5f))), Is.EqualTo("prompt 1, token 0: place 2 of the likeliest: id 6 against 8"));
        Assert.That(Difference(Record(5, -0.5f, (5, -0.5f))), Is.EqualTo("prompt 1, token 0: 2 likeliest tokens against 1"));
        Assert.That(Difference(one with { Positions = [] }), Is.EqualTo("prompt 1: 1 tokens against 0"));
        Assert.That(OutputRecord.FirstDifference([one], []), Is.EqualTo("1 answers against 0"));
        Assert.That(OutputRecord.FirstDifference([Record(5, 0f)], [Record(5, -0f)]), Is.EqualTo("prompt 1, token 0: logprob 0 against -0"), "equal numbers, other bits");

        string? Difference(OutputRecord other) => OutputRecord.FirstDifference([one], [other]);
    }

    private static OutputRecord Record(int token, float logprob, params (int, float)[] top) => new("prompt 1", [new PositionLogprobs(token, logprob, top)]);

    private static PositionLogprobs Position(double[] probabilities, int length)
    {
        (int Token, float Logprob)[] top = [.. probabilities.Select((p, token) => (token, (float)Math.Log(p))).OrderByDescending(one => one.Item2).Take(length)];
        return new PositionLogprobs(0, (float)Math.Log(probabilities[0]), top);
    }
}
