using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Kernels.Cpu;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>The real model, as the server runs it by default, against transformers in float32 on the dequantised file.</summary>
[Category("Slow")]
public sealed class SmolLm2Tests
{
    // Golden bound 3; llama.cpp itself is at the first two, the perplexity is the reference's.
    private const double MeanKl = 0.0034, Top1 = 0.972, Perplexity = 15.769;

    [Test]
    public void SmolLm2_WithDefaultSettings_IsWithinBounds()
    {
        GoldenModel golden = GoldenModel.Read(TestData.FindOrIgnore("smollm2/expected.json"));
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        RankSetup setup = RankSetup.CpuDefault with { Limits = new(1024, 1024), Blocks = 256 };
        Job[] jobs = [.. golden.Cases.Select(expected => new Job
        {
            Prompt = expected.PromptTokenIds,
            NewTokens = expected.GreedyTokenIds.Length,
            PromptTopLogprobs = 1000,
        })];
        GoldenPassage passage = golden.Passage!;
        JobResult[] results = RankGroup.RunAlone(checkpoint, setup, [.. jobs, new Job { Prompt = passage.TokenIds, PromptTopLogprobs = 1, JoinsAt = 1 }]);

        GoldenComparison comparison = new();
        foreach ((GoldenCase expected, JobResult actual) in golden.Cases.Zip(results))
            comparison.Add(expected, actual);
        JobResult read = results[^1];
        double perplexity = Math.Exp(-read.Rows.SkipLast(1).Average(row => row.Logprob));
        double sameTop = read.Rows.Zip(passage.Top1Ids).Average(pair => pair.First.TopIds[0] == pair.Second ? 1.0 : 0.0);
        double ofAll = (comparison.Top1Agreement * comparison.Positions + sameTop * read.Rows.Count) / (comparison.Positions + read.Rows.Count);
        TestContext.Out.WriteLine($"mean KL {comparison.MeanKl:e2}, same top {ofAll:p2}, perplexity {perplexity:f3}");
        Assert.Multiple(() =>
        {
            Assert.That(comparison.MeanKl, Is.LessThanOrEqualTo(MeanKl));
            Assert.That(ofAll, Is.GreaterThanOrEqualTo(Top1));
            Assert.That(perplexity, Is.EqualTo(Perplexity).Within(1).Percent);
            foreach ((GoldenCase expected, JobResult actual) in golden.Cases.Zip(results))
                GoldenComparison.AssertGreedy(expected, actual, 4 * golden.LlamaCppYardstick!.MaxAbsLogprobDifferenceInTop);
        });
    }

    [Test]
    public void SmolLm2_RanksOnUnlikeProcessors_EqualOneRank()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        Job job = new() { Prompt = [504, 28899, 418, 717, 477, 21817, 43145, 690, 805], NewTokens = 4, PromptTopLogprobs = 5, TopLogprobs = 2, Settings = new() { Temperature = 1, TopP = 0.9f, Seed = 5 } };
        string alone = RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, [job])[0].ToString();
        int made = 0;
        RankSetup unlike = RankSetup.CpuDefault with { Backend = () => new CpuBackend(threads: 1, Isa.Supported[(Interlocked.Increment(ref made) - 1) % Isa.Supported.Count]) };
        JobResult[] group = RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, Math.Max(2, Isa.Supported.Count)), unlike, [job])[0];
        Assert.That(group[0].ToString(), Is.EqualTo(alone), string.Join(", ", Isa.Supported.Select(isa => isa.Name())));
    }

    [TestCase(1.0, 1.0)]
    [TestCase(1.0, 1.0, 1.0)]
    [TestCase(1.0, 1.0, 1.0, 1.0)]
    [TestCase(1.0, 1.0, 1.0, 1.0, 1.0)]
    [TestCase(5.0, 2.0, 1.0)]
    public void SmolLm2_AnySplit_EqualsOneRank(params double[] weights)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        RankSetup setup = RankSetup.CpuDefault with { Limits = new(256, 256), Blocks = 32 };
        int[] prompt = [504, 28899, 418, 717, 477, 21817, 43145, 690, 805, 281, 260, 24953, 21960, 30, 1550, 357, 1072, 28, 260, 8725];
        Job[] jobs =
        [
            new() { Prompt = prompt, NewTokens = 64, PromptTopLogprobs = 5, Chunk = 16 },
            new() { Prompt = prompt[..9], NewTokens = 16, TopLogprobs = 2, JoinsAt = 3, Settings = new() { Temperature = 1, TopP = 0.9f, Seed = 5 } },
        ];
        JobResult[] alone = RankGroup.RunAlone(checkpoint, setup, jobs);
        JobResult[] group = RankGroup.Run(checkpoint, Partition.Weighted(checkpoint.Config, weights), setup, jobs)[0];
        Assert.That(group.Select(result => result.ToString()), Is.EqualTo(alone.Select(result => result.ToString())));
    }
}
