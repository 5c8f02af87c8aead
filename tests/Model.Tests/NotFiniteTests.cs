using NUnit.Framework;
using TpServe.Collectives.Staged;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cuda;
using TpServe.Model.Sampling;
using TpServe.Model.Weights;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>NaN and infinity stay in the sequence that they arise in: neither its neighbours in a step nor who takes its blocks over meets them.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class NotFiniteTests
{
    /// <summary>Tokens whose embedding is NaN and infinity.</summary>
    private const int NaNToken = 7, InfinityToken = 9;

    private static readonly Job[] Good =
    [
        new() { Prompt = [5, 10, 13, 2, 77], NewTokens = 12, PromptTopLogprobs = 3 },
        new() { Prompt = [.. Enumerable.Range(20, 70)], Chunk = 16, NewTokens = 10, JoinsAt = 1, Settings = new() { Temperature = 1.1f, TopK = 30, Seed = 3 } },
        new() { Prompt = [3, 1], NewTokens = 10, JoinsAt = 3, TopLogprobs = 4, Settings = new() { Temperature = 0.9f, TopP = 0.9f, Seed = 4, PresencePenalty = 0.4f } },
        // Joins after the bad ones are done: takes their blocks.
        new() { Prompt = [.. Enumerable.Range(100, 60)], NewTokens = 8, JoinsAt = 14, Settings = new() { Temperature = 0.7f, Seed = 5 } },
    ];

    private static readonly Job[] Bad =
    [
        new() { Prompt = [5, NaNToken, 13], NewTokens = 6 },
        new() { Prompt = [6, 8, InfinityToken], NewTokens = 5, TopLogprobs = 3 },
        new() { Prompt = [NaNToken], NewTokens = 5, JoinsAt = 2, Settings = new() { Temperature = 0.8f, Seed = 6 } },
        new() { Prompt = [1, InfinityToken], NewTokens = 5, JoinsAt = 2, Settings = new() { Temperature = 0.8f, TopK = 20, TopP = 0.9f, Seed = 7 } },
        new() { Prompt = [2, NaNToken, 3], NewTokens = 4, JoinsAt = 4, TopLogprobs = 0, Settings = new() { Temperature = 1f, RepetitionPenalty = 1.2f, AllowedTokenIds = [4, 5] } },
    ];

    private static readonly (string Name, RankSetup Setup)[] Setups =
    [
        .. Enum.GetValues<IsaPath>().Where(path => path.IsSupported()).Select(path => (
            $"cpu {path.Name()}", RankSetup.CpuDefault with { Backend = () => new CpuBackend(threads: 1, path) })),
        ("cpu float32", RankSetup.CpuFloat32),
        ("cpu bfloat16 cache", RankSetup.CpuDefault with { KvType = ElementType.BFloat16 }),
        ("cpu blocks of 12", RankSetup.CpuDefault with { BlockTokens = 12 }),
        ("reference", RankSetup.Reference),
    ];

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach ((string setup, _) in Setups)
            foreach (string model in new[] { "llama", "llama-q8_0", "gemma2" })
                yield return new TestCaseData(setup, model, 1);
        foreach (string model in OddModels.Names)
            yield return new TestCaseData(Setups[0].Name, model, 2);
    }

    [TestCaseSource(nameof(Cases))]
    public void Slots_HoldingNaN_ReachNobody(string setup, string model, int degree)
    {
        RankSetup clean = Find(setup);
        using RandomCheckpoint checkpoint = OddModels.Create(model);
        Assert.That(Texts(checkpoint, clean with { StaleNaN = true }, degree, Good), Is.EqualTo(Texts(checkpoint, clean, degree, Good)));
    }

    [TestCaseSource(nameof(Cases))]
    public void Sequences_ThatBecomeNaN_EndAlone(string setup, string model, int degree) => EndAlone(Find(setup), model, degree, Good, Bad);

    [TestCase(1)]
    [TestCase(2)]
    [NonParallelizable]
    public void Sequences_ThatBecomeNaN_EndAloneOnTheEmulatedGpu(int degree)
    {
        Job[] good = [.. Good.Take(3).Select(job => job with { Prompt = [.. job.Prompt.Take(6)], NewTokens = 5 })];
        EndAlone(RankSetup.CudaEmulated with { StaleNaN = true }, "llama", degree, good, Bad);
    }

    /// <summary>Runs good jobs alone, then beside bad ones: the good ones give the same bits, the bad ones no token.</summary>
    private static void EndAlone(RankSetup setup, string model, int degree, Job[] good, Job[] bad)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(model);
        checkpoint.Fill(ExpectedTensors.Embedding, NaNToken, float.NaN);
        checkpoint.Fill(ExpectedTensors.Embedding, InfinityToken, float.PositiveInfinity);
        string[] alone = Texts(checkpoint, setup, degree, good);
        JobResult[][] together = Run(checkpoint, setup, degree, [.. good, .. bad]);
        Assert.That(together[0].Take(good.Length).Select(result => result.ToString()), Is.EqualTo(alone));
        foreach (JobResult[] rank in together)
        {
            for (int i = 0; i < bad.Length; i++)
            {
                Assert.That(rank[good.Length + i].Tokens, Is.EqualTo(Enumerable.Repeat(Sampler.NotFinite, bad[i].NewTokens)), $"bad job {i}");
                Assert.That(rank[good.Length + i].Logprobs, Is.Empty, $"bad job {i}");
            }
        }
    }

    private static RankSetup Find(string name) => Setups.Single(setup => setup.Name == name).Setup;

    private static string[] Texts(RandomCheckpoint checkpoint, RankSetup setup, int degree, Job[] jobs) =>
        [.. Run(checkpoint, setup, degree, jobs)[0].Select(result => result.ToString())];

    private static JobResult[][] Run(RandomCheckpoint checkpoint, RankSetup setup, int degree, Job[] jobs) =>
        RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, degree), setup, jobs, wrap: (host, ops) => ops is CudaBackend ? new StagedCommunicator(host, ops) : host);
}
