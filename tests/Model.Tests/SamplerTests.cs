using NUnit.Framework;
using TpServe.Model.Sampling;
using TpServe.Testing;

namespace TpServe.Model.Tests;

public sealed class SamplerTests
{
    private static readonly int[] History = [5, 6, 7];
    private readonly Sampler _sampler = new();

    [Test]
    public void Choose_GreedyWithTies_TakesTheLowestId()
    {
        float[] logits = [0f, 3f, -1f, 3f];
        Assert.That(_sampler.Choose(logits, Row(SamplingSettings.Greedy)), Is.EqualTo(1));
    }

    [Test]
    public void Choose_NegativeZeroAgainstZero_IsATie()
    {
        float[] logits = [-1f, -0f, 0f];
        Assert.That(_sampler.Choose(logits, Row(SamplingSettings.Greedy)), Is.EqualTo(1));
    }

    [Test]
    public void Choose_LeavesTheLogitsAlone()
    {
        float[] logits = Numbers.Uniform(64, seed: 1), before = [.. logits];
        _sampler.Choose(logits, Row(new() { Temperature = 1, RepetitionPenalty = 2, LogitBias = [new(3, 9f)], AllowedTokenIds = [3, 4] }));
        Assert.That(logits, Is.EqualTo(before));
    }

    [Test]
    public void Choose_AllowedIds_NeverAnother()
    {
        float[] logits = Numbers.Uniform(64, seed: 2);
        for (int output = 0; output < 200; output++)
            Assert.That(
                _sampler.Choose(logits, Row(new() { Temperature = 5, AllowedTokenIds = [9, 33, 70], OutputIndex = output })), Is.EqualTo(9).Or.EqualTo(33));
    }

    [TestCase(0, 2, ExpectedResult = 0, Description = "two to go: the end is suppressed")]
    [TestCase(1, 2, ExpectedResult = 0, Description = "one to go")]
    [TestCase(2, 2, ExpectedResult = 1, Description = "enough were generated")]
    public int Choose_EndTokenBeforeMinTokens_IsSuppressed(int generated, int minTokens)
    {
        float[] logits = [1f, 2f];
        SampleRow row = new(0, new() { EndTokenIds = [1], MinTokens = minTokens }, new int[3 + generated], 3, -1);
        return _sampler.Choose(logits, row);
    }

    [Test]
    public void Choose_OnlyEndTokensAllowedBeforeMinTokens_TakesOne()
    {
        float[] logits = [3f, 1f, 2f];
        Assert.That(_sampler.Choose(logits, Row(new() { AllowedTokenIds = [1], EndTokenIds = [1], MinTokens = 9 })), Is.EqualTo(1));
    }

    [Test]
    public void Choose_SameSeedPositionAndOutput_SameToken()
    {
        float[] logits = new float[1000];
        SamplingSettings settings = new() { Temperature = 1, Seed = 42 };
        int first = _sampler.Choose(logits, Row(settings));
        Assert.Multiple(() =>
        {
            Assert.That(new Sampler().Choose(logits, Row(settings)), Is.EqualTo(first));
            Assert.That(_sampler.Choose(logits, Row(settings with { Seed = 43 })), Is.Not.EqualTo(first));
            Assert.That(_sampler.Choose(logits, Row(settings with { OutputIndex = 1 })), Is.Not.EqualTo(first));
            Assert.That(_sampler.Choose(logits, Row(settings) with { Tokens = new int[4] }), Is.Not.EqualTo(first));
        });
    }

    [TestCase(1)]
    [TestCase(5)]
    [TestCase(64)]
    public void ChooseAmong_TheBestOfEachRank_AgreesWithTheWholeRow(int k)
    {
        // Rounded logits: many ties, also across the ranks' boundary.
        float[] logits = [.. Numbers.Uniform(300, seed: k).Select(v => MathF.Round(v * 20) / 4)];
        (float[] values, int[] ids) = Candidates(logits, [0, 130, 131, 300], k);
        for (int output = 0; output < 100; output++)
        {
            SampleRow row = Row(new() { Temperature = 0.9f, TopK = k, TopP = 0.9f, MinP = 0.05f, Seed = 7, OutputIndex = output });
            Assert.That(_sampler.ChooseAmong(values, ids, row), Is.EqualTo(_sampler.Choose(logits, row)));
        }
    }

    [Test]
    public void ChooseAmong_VocabularySmallerThanK_AgreesWithTheWholeRow()
    {
        float[] logits = Numbers.Uniform(20, seed: 6);
        (float[] values, int[] ids) = Candidates(logits, [0, 9, 20], 40);
        for (int output = 0; output < 100; output++)
        {
            SampleRow row = Row(new() { Temperature = 1, TopK = 40, OutputIndex = output });
            Assert.That(_sampler.ChooseAmong(values, ids, row), Is.EqualTo(_sampler.Choose(logits, row)));
        }
    }

    [Test]
    public void ChooseAmong_MoreCandidatesThanTheRowAsks_ChangesNothing()
    {
        float[] logits = Numbers.Uniform(300, seed: 3);
        (float[] values, int[] ids) = Candidates(logits, [0, 150, 300], 64);
        for (int output = 0; output < 100; output++)
        {
            SampleRow sampled = Row(new() { Temperature = 2, TopK = 3, OutputIndex = output }), greedy = Row(SamplingSettings.Greedy);
            Assert.That(_sampler.ChooseAmong(values, ids, sampled), Is.EqualTo(_sampler.Choose(logits, sampled)));
            Assert.That(_sampler.ChooseAmong(values, ids, greedy), Is.EqualTo(_sampler.Choose(logits, greedy)));
        }
    }

    [Test]
    public void Choose_NaNAmongOthers_CountsAsMinusInfinity()
    {
        float[] logits = [.. Numbers.Uniform(203, seed: 12).Select((v, id) => id % 5 == 2 ? float.NaN : 6 * v)];
        float[] excluded = [.. logits.Select(v => float.IsNaN(v) ? float.NegativeInfinity : v)];
        foreach (SamplingSettings settings in new SamplingSettings[] { new(), new() { Temperature = 1 }, new() { Temperature = 1, TopP = 0.8f }, new() { Temperature = 1, MinP = 0.1f }, new() { Temperature = 1, TopK = 9 } })
            for (int output = 0; output < 50; output++)
                Assert.That(_sampler.Choose(logits, Row(settings with { OutputIndex = output })), Is.EqualTo(_sampler.Choose(excluded, Row(settings with { OutputIndex = output }))));
        Assert.That(_sampler.Logprobs(logits, 0, 300), Is.EqualTo(_sampler.Logprobs(excluded, 0, 300)).Using<TokenLogprobs>((a, b) => a.ToString() == b.ToString() && a.TopLogprobs.SequenceEqual(b.TopLogprobs)));
    }

    [TestCase(float.NaN, float.NaN)]
    [TestCase(float.NegativeInfinity, float.NaN)]
    [TestCase(1f, float.PositiveInfinity)]
    public void Choose_NothingFiniteToChooseBy_IsNotFinite(float all, float one)
    {
        float[] logits = [.. Enumerable.Repeat(all, 100)];
        logits[40] = one;
        (float[] values, int[] ids) = Candidates(logits, [0, 60, 100], 20);
        foreach (SamplingSettings settings in new SamplingSettings[] { new(), new() { Temperature = 1 }, new() { Temperature = 1, TopK = 20 }, new() { Temperature = 1, TopP = 0.5f, LogitBias = [new(3, 1f)] } })
            Assert.That(_sampler.Choose(logits, Row(settings)), Is.EqualTo(Sampler.NotFinite));
        Assert.That(_sampler.ChooseAmong(values, ids, Row(new() { Temperature = 1, TopK = 20 })), Is.EqualTo(Sampler.NotFinite));
    }

    [Test]
    public void Logprobs_WithTies_RanksByIdAndSumsToOne()
    {
        float[] logits = [1f, 2f, 2f, 0f, 2f];
        TokenLogprobs second = _sampler.Logprobs(logits, tokenId: 2, top: 9);
        double sum = Math.Log(Math.E + 3 * Math.Exp(2) + 1);
        Assert.Multiple(() =>
        {
            Assert.That(second.Rank, Is.EqualTo(2));
            Assert.That(second.Logprob, Is.EqualTo(2 - sum).Within(1e-6));
            Assert.That(second.TopIds, Is.EqualTo(new[] { 1, 2, 4, 0, 3 }));
            Assert.That(second.TopLogprobs.Sum(v => Math.Exp(v)), Is.EqualTo(1).Within(1e-6));
        });
    }

    [TestCase(1)]
    [TestCase(7)]
    [TestCase(49152)]
    public void Logprobs_AnyVocabulary_MatchesPlainSum(int vocab)
    {
        float[] logits = [.. Numbers.Uniform(vocab, seed: 9).Select(v => v * 12)];
        double sum = Math.Log(logits.Sum(v => Math.Exp(v)));
        Assert.That(_sampler.Logprobs(logits, vocab / 2, 0).Logprob, Is.EqualTo(logits[vocab / 2] - sum).Within(1e-5));
    }

    [Test]
    public void LogitsPlan_SampleKinds_AskForNoMoreThanNeeded()
    {
        SampleRow[] samples =
        [
            Row(SamplingSettings.Greedy),
            Row(new() { Temperature = 1, TopK = 20, TopP = 0.5f }),
            Row(new() { Temperature = 1 }),
            Row(new() { Temperature = 1, TopK = 65 }),
            Row(new() { Temperature = 1, TopK = 5, PresencePenalty = 1 }),
            Row(SamplingSettings.Greedy) with { TopLogprobs = 0 },
            Row(new() { EndTokenIds = [2], MinTokens = 0 }),
            Row(new() { EndTokenIds = [2], MinTokens = 1 }),
        ];
        LogitsPlan plan = new();
        plan.Make([.. samples, Row(new() { Temperature = 1, TopP = 0.9f })]);
        Assert.That(plan.WholeSamples, Does.Contain(8), "nothing travels");
        plan = new(sends: true);
        plan.Make([.. samples, Row(new() { Temperature = 1, TopP = 0.9f }), Row(new() { Temperature = 1, TopP = 0.9f }) with { TopLogprobs = 0 }]);
        Assert.That((plan.NucleusSamples, plan.WholeSamples), Is.EqualTo((new[] { 8 }, new[] { 2, 3, 4, 5, 7, 9 })));
        plan.Make([.. Enumerable.Repeat(Row(new() { Temperature = 1, TopP = 0.9f }), LogitsPlan.MostNuclei + 1)]);
        Assert.That((plan.NucleusSamples.Count, plan.WholeSamples), Is.EqualTo((LogitsPlan.MostNuclei, new[] { LogitsPlan.MostNuclei })), "no more than are kept");
        SampleRow only = Row(new() { Temperature = 1, PresencePenalty = 1 }) with { Only = 7 };
        plan.Make([Row(SamplingSettings.Greedy) with { Follows = new FollowingMask() }, only, only with { TopLogprobs = 0 }]);
        Assert.That((plan.WholeSamples, plan.KnownSamples), Is.EqualTo((new[] { 0, 2 }, new[] { 1 })), "what follows may be anything; what can be no other is not looked at unless it is reported");
        plan = new();
        plan.Make(samples);
        Assert.Multiple(() =>
        {
            Assert.That(plan.CandidateSamples, Is.EqualTo(new[] { 0, 1, 6 }));
            Assert.That(plan.Candidates, Is.EqualTo(20));
            Assert.That(plan.WholeSamples, Is.EqualTo(new[] { 2, 3, 4, 5, 7 }));
        });
    }

    [Test]
    public void LogitsPlan_OnADeviceThatDraws_LeavesTheHostRowsBeyondItsBounds()
    {
        SampleRow longHistory = Row(new() { RepetitionPenalty = 1.1f }) with { Tokens = new int[LogitsPlan.MostEdits + 1] };
        SampleRow[] few = [Row(SamplingSettings.Greedy), Row(new() { Temperature = 1, TopK = 20 }), longHistory with { Settings = SamplingSettings.Greedy }];
        SampleRow[] all =
        [
            .. few, Row(new() { Temperature = 1 }), longHistory, Row(SamplingSettings.Greedy) with { TopLogprobs = 5 }, Row(SamplingSettings.Greedy) with { TopLogprobs = 65 },
            longHistory with { Settings = new() { PresencePenalty = 1f }, PromptTokens = 5 }, longHistory with { Settings = new() { PresencePenalty = 1f }, PromptTokens = 0 },
        ];
        LogitsPlan plan = new(drawsOnDevice: true);
        plan.Make(few);
        Assert.That((plan.DrawnSamples, plan.DrawnCandidates, plan.ReportsDrawn), Is.EqualTo((new[] { 0, 1, 2 }, 20, false)));
        plan.Make(all);
        Assert.That((plan.DrawnSamples, plan.DrawnCandidates, plan.ReportsDrawn, plan.DrawnLikeliest), Is.EqualTo((new[] { 0, 1, 2, 3, 5, 7 }, 0, true, 5)));
        Assert.That(plan.WholeSamples, Is.EqualTo(new[] { 4, 6, 8 }));
        Assert.That(plan.CandidateSamples, Is.Empty);
    }

    private static SampleRow Row(SamplingSettings settings) => new(0, settings, History, History.Length, -1);

    private static (float[] Values, int[] Ids) Candidates(float[] logits, int[] boundaries, int k)
    {
        List<float> values = [];
        List<int> ids = [];
        for (int rank = 0; rank + 1 < boundaries.Length; rank++)
        {
            int[] best = [.. Enumerable.Range(boundaries[rank], boundaries[rank + 1] - boundaries[rank]).OrderByDescending(id => logits[id]).Take(k)];
            for (int i = 0; i < k; i++)
            {
                values.Add(i < best.Length ? logits[best[i]] : float.NegativeInfinity);
                ids.Add(i < best.Length ? best[i] : -1);
            }
        }
        return ([.. values], [.. ids]);
    }

    [TestCase(0f)]
    [TestCase(0.9f)]
    public void Choose_AllowedTokens_IsOneOfThemAndTheBestOfThemWhereGreedy(float temperature)
    {
        Random random = new(5);
        for (int run = 0; run < 200; run++)
        {
            int vocab = random.Next(1, 300);
            float[] logits = [.. Enumerable.Range(0, vocab).Select(_ => (float)(8 * random.NextDouble()))];
            byte[] mask = new byte[random.Next(0, vocab + 8) / 8 + 1];
            random.NextBytes(mask);
            int[] allowed = [.. Enumerable.Range(0, vocab).Where(id => id / 8 < mask.Length && (mask[id / 8] >> (id % 8) & 1) != 0)];
            if (allowed.Length == 0)
                continue;
            SampleRow row = new(0, new SamplingSettings { Temperature = temperature, Seed = (ulong)run }, new int[] { 1 }, 1, -1) { Allowed = mask };
            int chosen = new Sampler().Choose(logits, row);
            Assert.That(allowed, Does.Contain(chosen));
            if (temperature == 0)
                Assert.That(chosen, Is.EqualTo(allowed.MaxBy(id => logits[id])), "seed 5");
            Assert.That(new Sampler().Choose(logits, row with { Allowed = default, Follows = new FollowingMask { Bits = mask } }), Is.EqualTo(chosen));
            Assert.That(new Sampler().Choose(logits, row with { Allowed = default, Only = allowed[^1] }), Is.EqualTo(allowed[^1]));
        }
    }
}
