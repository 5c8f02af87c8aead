using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Model.Sampling;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>A KV cache of 8 bits: the same bits however they come about, and what it costs in exactness.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class KvQ8Tests
{
    // Heads of 32: 9 query heads on 3 KV heads.
    private const string Model = "llama-q8_0";

    private static readonly RankSetup Setup = RankSetup.CpuDefault with { KvType = ElementType.Q8 };

    private static readonly Job[] Jobs =
    [
        new() { Prompt = Prompt(90, seed: 1), NewTokens = 40, Chunk = 16, PromptTopLogprobs = 8 },
        new() { Prompt = Prompt(5, seed: 2), NewTokens = 24, TopLogprobs = 5, JoinsAt = 2 },
        new() { Prompt = Prompt(70, seed: 3), NewTokens = 24, Chunk = 32, JoinsAt = 1, Settings = new() { Temperature = 1.2f, TopK = 30, TopP = 0.95f, Seed = 7 } },
    ];

    private static IEnumerable<IsaPath> Paths => Enum.GetValues<IsaPath>().Where(path => path.IsSupported());

    [TestCase(1.0, 1.0)]
    [TestCase(1.0, 1.0, 1.0)]
    [TestCase(1.0, 1.0, 1.0, 1.0, 1.0)]
    [TestCase(1.0, 4.0, 2.0)]
    public void Group_AnySplit_EqualsOneRank(params double[] weights)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(Model);
        string[] alone = Texts(RankGroup.RunAlone(checkpoint, Setup, Jobs));
        Assert.That(Texts(RankGroup.Run(checkpoint, Partition.Weighted(checkpoint.Config, weights), Setup, Jobs)[0]), Is.EqualTo(alone));
    }

    [Test]
    public void Paths_OfAnyProcessor_GiveOneAnswer([ValueSource(nameof(Paths))] IsaPath path, [Values(16, 12)] int blockTokens)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(Model);
        RankSetup setup = Setup with { BlockTokens = blockTokens, Backend = () => new CpuBackend(threads: 2, path) };
        Assert.That(Texts(RankGroup.RunAlone(checkpoint, setup, Jobs)), Is.EqualTo(Texts(RankGroup.RunAlone(checkpoint, Setup, Jobs))));
    }

    [Test]
    public void Chunks_AnySizeAlone_GiveTheBitsOfTheBatch([Values(1, 7, 64, 512)] int chunk)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(Model);
        string[] together = Texts(RankGroup.RunAlone(checkpoint, Setup, Jobs));
        for (int i = 0; i < Jobs.Length; i++)
            Assert.That(RankGroup.RunAlone(checkpoint, Setup, [Jobs[i] with { Chunk = chunk, JoinsAt = 0 }])[0].ToString(), Is.EqualTo(together[i]), $"job {i}");
    }

    [Test]
    public void Cache_OfQ8_IsNotTheOneOfF16()
    {
        using RandomCheckpoint checkpoint = OddModels.Create(Model);
        Assert.That(Texts(RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, Jobs)), Is.Not.EqualTo(Texts(RankGroup.RunAlone(checkpoint, Setup, Jobs))));
    }

    [Test]
    public void Cache_OfHeadsThatAreNoBlocks_IsRefused()
    {
        using RandomCheckpoint checkpoint = OddModels.Create("llama");
        using CpuBackend ops = new(threads: 1);
        ShardPlan plan = new(checkpoint.Config, Partition.Even(checkpoint.Config, 1), 0);
        Assert.That(() => new KvCache(checkpoint.Config, plan, ElementType.Q8, 16, 4, ops), Throws.ArgumentException.With.Message.Contains("32 elements, not of 16"));
    }

    /// <summary>First the distance of the cache alone; then as a server runs: with activations of 8 bits any difference, however small, flips some of their roundings.</summary>
    /// <remarks>Bounds   half as much again as measured (README), for every processor gives the same bits; the perplexity within what it moved, rounded up.</remarks>
    [TestCase(CpuActivations.Float32, 1.1e-6, 6e-4, 0.985, 0.001)]
    [TestCase(CpuActivations.Auto, 5.6e-3, 6.8e-3, 0.94, 0.01)]
    [Category("Slow"), NonParallelizable]
    public void SmolLm2_CachesOfEachType_AreWithinBoundsOfFloat32(CpuActivations activations, double f16Kl, double q8Kl, double q8Top, double perplexity)
    {
        GoldenModel golden = GoldenModel.Read(TestData.FindOrIgnore("smollm2/expected.json"));
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        const int compared = 256, reported = 4096; // of the likeliest tokens; all others are one bucket more
        (double Kl, double SameTop, double PerplexityRatio) f16 = Distance(ElementType.Float16), q8 = Distance(ElementType.Q8);
        Assert.Multiple(() =>
        {
            Assert.That(f16.Kl, Is.LessThan(f16Kl));
            Assert.That(q8.Kl, Is.LessThan(q8Kl));
            Assert.That(q8.SameTop, Is.GreaterThan(q8Top));
            Assert.That(q8.PerplexityRatio, Is.EqualTo(1).Within(perplexity));
        });

        (double Kl, double SameTop, double PerplexityRatio) Distance(ElementType type)
        {
            JobResult[] exact = Read(ElementType.Float32), ours = Read(type);
            double kl = 0, same = 0;
            int positions = 0;
            foreach ((TokenLogprobs x, TokenLogprobs y) in exact.SelectMany(result => result.Rows).Zip(ours.SelectMany(result => result.Rows)))
            {
                Dictionary<int, float> byId = y.TopIds.Zip(y.TopLogprobs).ToDictionary(pair => pair.First, pair => pair.Second);
                (float Expected, float Ours)[] both = [.. x.TopIds.Take(compared).Zip(x.TopLogprobs).Where(pair => byId.ContainsKey(pair.First)).Select(pair => (pair.Second, byId[pair.First]))];
                kl += GoldenComparison.Divergence([.. both.Select(pair => pair.Expected)], [.. both.Select(pair => pair.Ours)]);
                same += x.TopIds[0] == y.TopIds[0] ? 1 : 0;
                positions++;
            }
            double ratio = Perplexity(ours[^1]) / Perplexity(exact[^1]);
            TestContext.Out.WriteLine(
                $"activations {activations}: {type} against Float32, {positions} positions: mean KL {kl / positions:e2}, same top {same / positions:p2}, perplexity {Perplexity(ours[^1]):f4} against {Perplexity(exact[^1]):f4}");
            return (kl / positions, same / positions, ratio);
        }

        JobResult[] Read(ElementType type)
        {
            RankSetup setup = new() { Backend = () => new CpuBackend(threads: 2, activations: activations), KvType = type, Limits = new(1024, 1024), Blocks = 256 };
            Job[] jobs = [.. golden.Cases.Select(each => each.PromptTokenIds).Append(golden.Passage!.TokenIds).Select(prompt => new Job { Prompt = prompt, PromptTopLogprobs = reported })];
            return RankGroup.RunAlone(checkpoint, setup, jobs);
        }
    }

    private static double Perplexity(JobResult read) => Math.Exp(-read.Rows.SkipLast(1).Average(row => row.Logprob));

    private static string[] Texts(JobResult[] results) => [.. results.Select(result => result.ToString())];

    private static int[] Prompt(int length, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(389))];
    }
}
