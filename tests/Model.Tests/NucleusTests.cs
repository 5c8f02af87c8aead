using NUnit.Framework;
using TpServe.Model.Sampling;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>Top-p from each rank's best tokens and masses: the choice of the whole row, to the token, or none.</summary>
public sealed class NucleusTests
{
    private static readonly int[] s_history = [1, 2, 3];
    private readonly Sampler _sampler = new();

    [TestCase(49152, 2, 0.5f, 0.9f, 0.9)]    // a model's vocabulary, as uneven as a model is
    [TestCase(49152, 5, 0.7f, 0.5f, 0.9)]
    [TestCase(32000, 3, 2f, 0.999f, 0)]      // flat: the nucleus is wider than what is sent
    [TestCase(1000, 4, 1f, 0.8f, 0.5)]
    [TestCase(300, 3, 1f, 0.8f, 0.5)]        // two chunks, cut
    [TestCase(90, 2, 1f, 0.95f, 1)]          // all of it is sent
    public void Choose_ByParts_IsTheChoiceByTheWholeRow(int vocab, int degree, float temperature, float topP, double decided)
    {
        Random random = new(vocab + degree);
        const int rounds = 60;
        int found = 0;
        for (int round = 0; round < rounds; round++)
        {
            int[] boundaries = [0, .. Enumerable.Range(0, degree - 1).Select(_ => random.Next(vocab + 1)).Order(), vocab];
            float[] logits = [.. Enumerable.Range(0, vocab).Select(likeliest => -1.4f * MathF.Log(1 + likeliest))];
            random.Shuffle(logits);
            if (round % 5 == 0)
                logits[random.Next(vocab)] = logits[random.Next(vocab)] = 0.5f; // ties
            SampleRow row = new(0, new SamplingSettings { Temperature = temperature, TopP = topP, Seed = (ulong)round, MinP = round % 3 == 0 ? 0.01f : 0 }, s_history, 3, -1);
            int chosen = ByParts(logits, boundaries, row);
            if (chosen == Sampler.Undecided)
                continue;
            found++;
            Assert.That(chosen, Is.EqualTo(_sampler.Choose(logits, row)), $"round {round}, boundaries {string.Join(' ', boundaries)}");
        }
        TestContext.Out.WriteLine($"{found} of {rounds} decided");
        Assert.That(found, Is.GreaterThanOrEqualTo(decided * rounds));
    }

    [Test]
    public void Total_AnyBoundaries_HasTheSameBits([Values(1, 255, 256, 257, 1000, 49152)] int vocab)
    {
        Random random = new(vocab);
        float[] logits = [.. Numbers.Uniform(vocab, seed: 3).Select(v => v * 20)];
        NucleusLayout whole = new([0, vocab]);
        double expected = whole.Total(Words(whole, logits, [0, vocab], 0.8f), 0.8f), plain = logits.Sum(v => Math.Exp((double)(v / 0.8f) - logits.Max() / 0.8f));
        Assert.That(expected, Is.EqualTo(plain).Within(1e-6).Percent);
        for (int round = 0; round < 40; round++)
        {
            int[] boundaries = [0, .. Enumerable.Range(0, random.Next(1, 8)).Select(_ => random.Next(vocab + 1)).Order(), vocab];
            NucleusLayout layout = new(boundaries);
            Assert.That(layout.Total(Words(layout, logits, boundaries, 0.8f), 0.8f), Is.EqualTo(expected), string.Join(' ', boundaries));
        }
    }

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    [TestCase(float.NegativeInfinity)]
    public void Choose_RowsThatAreNoNumbers_AreLeftToTheWholeRow(float value)
    {
        float[] logits = new float[500];
        Array.Fill(logits, value);
        SampleRow row = new(0, new SamplingSettings { Temperature = 1, TopP = 0.9f }, s_history, 3, -1);
        Assert.That(ByParts(logits, [0, 200, 500], row), Is.EqualTo(Sampler.Undecided));
        Assert.That(_sampler.Choose(logits, row), Is.EqualTo(Sampler.NotFinite));
    }

    private int ByParts(float[] logits, int[] boundaries, SampleRow row)
    {
        NucleusLayout layout = new(boundaries);
        return _sampler.ChooseInNucleus(layout, Words(layout, logits, boundaries, row.Settings.Temperature), row);
    }

    private static float[] Words(NucleusLayout layout, float[] logits, int[] boundaries, float temperature)
    {
        float[] words = new float[layout.Firsts[^1]];
        for (int rank = 0; rank + 1 < boundaries.Length; rank++)
        {
            int first = boundaries[rank];
            float[] part = logits[first..boundaries[rank + 1]];
            int[] best = [.. Enumerable.Range(0, part.Length).OrderBy(i => LogitKey.Of(part[i], i)).Take(LogitsPlan.MostCandidates)];
            int missing = LogitsPlan.MostCandidates - best.Length;
            layout.Pack(
                rank, part, temperature, [.. best.Select(i => part[i]), .. new float[missing]], [.. best.Select(i => first + i), .. Enumerable.Repeat(-1, missing)],
                words.AsSpan(layout.Firsts[rank], layout.WordsOf(rank)));
        }
        return words;
    }
}
