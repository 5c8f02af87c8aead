using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Collectives.Local;
using TpServe.Collectives.Staged;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Model.Families;
using TpServe.Model.Sampling;
using TpServe.Model.Weights;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>Whole models through the GPU kernels: the tiny Llama of the goldens on ILGPU's CPU accelerator, everything on a GPU where there is one.</summary>
[NonParallelizable]
public sealed class CudaModelTests
{
    /// <summary>Golden bound 1.</summary>
    private const double Float32Bound = 2e-3;

    /// <summary>Norm, product of q, k and v, rotary and store, attention with its merge, product, sum and norm, two products and the gate between them; where a product packs its input first, two.</summary>
    private const int MostLaunchesALayer = 13;

    /// <summary>Embedding, first norm, rows, head, candidates.</summary>
    private const int MostLaunchesAStep = 8;

    private static IEnumerable<string> Folders => GoldenModel.Names("models", "*");

    [TestCase("llama-mha")]
    [TestCase("llama-gqa-tied-rope3")]
    public void TinyLlama_Emulated_MatchesTransformersAndItselfAtDegreeTwo(string name)
    {
        string folder = TestData.FindOrIgnore($"models/{name}");
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(folder);
        GoldenCase expected = GoldenModel.Read(Path.Combine(folder, "expected.json")).Cases.First(golden => golden.PromptTokenIds.Length is > 4 and < 8);
        Job job = new() { Prompt = expected.PromptTokenIds, Chunk = 3, NewTokens = 4, PromptTopLogprobs = checkpoint.Config.Vocab, TopLogprobs = 0 };
        RankSetup setup = RankSetup.CudaEmulated with { KvType = ElementType.Float32, Backend = () => new CudaBackend(CudaContext.Emulated(), CudaActivations.Float32) };

        JobResult alone = Run(checkpoint, 1, setup, job)[0][0];
        GoldenComparison comparison = new();
        comparison.Add(expected, alone);
        Assert.That(comparison.LargestDifference, Is.LessThanOrEqualTo(Float32Bound));
        Assert.That(alone.Tokens, Is.EqualTo(expected.GreedyTokenIds.Take(4)));

        JobResult[][] ranks = Run(checkpoint, 2, setup, job);
        Assert.That(ranks[0][0].ToString(), Is.EqualTo(alone.ToString()));
        Assert.That(ranks[1][0].Tokens, Is.EqualTo(alone.Tokens));
    }

    [Test]
    public void TinyQuantisedLlama_EmulatedWithDefaults_HasTheSameBitsAtDegreeTwo()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore("gguf-models/llama-q8_0.gguf"));
        Job job = new() { Prompt = [5, 17, 40, 8], Chunk = 3, NewTokens = 3, PromptTopLogprobs = 8, TopLogprobs = 0 };
        JobResult alone = Run(checkpoint, 1, RankSetup.CudaEmulated, job)[0][0];
        Assert.That(Run(checkpoint, 2, RankSetup.CudaEmulated, job)[0][0].ToString(), Is.EqualTo(alone.ToString()));
    }

    /// <summary>What a GPU waits for between short kernels is the host: how many there are is kept.</summary>
    [Test]
    public void DecodeStep_OfALlama_LaunchesFewKernelsALayer()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore("models/llama-mha"));
        ShardPlan plan = new(checkpoint.Config, Partition.Even(checkpoint.Config, 1), 0);
        using CudaBackend ops = new(CudaContext.Emulated());
        using SingleRank comm = new(1, ops);
        using DenseTransformer model = WeightLoader.Load(checkpoint, plan, ops, comm, new ModelLimits(64, 64));
        using KvCache cache = new(checkpoint.Config, plan, ElementType.Float16, 16, 4, ops);
        ModelRank rank = new(model, cache, plan, ops, comm);
        StepBatch batch = new(16);
        batch.Clear(1);
        batch.Samples.Add(new SampleRow(batch.AddSequence([7], 0, [0]), SamplingSettings.Greedy, new int[] { 7 }, 1, -1));

        long before = ops.Launches;
        rank.Run(batch);
        long launches = ops.Launches - before;
        TestContext.Out.WriteLine($"{launches} kernels for {checkpoint.Config.Layers} layers");
        Assert.That(launches, Is.LessThanOrEqualTo(MostLaunchesAStep + checkpoint.Config.Layers * MostLaunchesALayer));
    }

    [Test]
    [Category("Gpu")]
    public void GoldenModel_OnAGpu_IsWithinBfloat16NoiseAndHasTheSameBitsAtEveryDegree([ValueSource(nameof(Folders))] string name, [Values(2, 3)] int degree)
    {
        if (GpuProbe.Find() is { Gpus.Count: 0 } survey)
            Assert.Ignore($"no GPU: {survey.Reason}");
        string folder = TestData.FindOrIgnore($"models/{name}");
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(folder);
        if (!FamilyRegistry.Architectures.Contains(checkpoint.Config.Architecture))
            Assert.Pass($"{checkpoint.Config.Architecture} is refused on every device");
        if (checkpoint.Config.Experts is not null)
            Assert.Pass($"{checkpoint.Config.Architecture} is refused on a GPU, as {nameof(MixtureTests)} says");
        GoldenModel golden = GoldenModel.Read(Path.Combine(folder, "expected.json"));
        Job[] jobs = [.. golden.Cases.Select((expected, i) => new Job
        {
            Prompt = expected.PromptTokenIds, Chunk = 48, NewTokens = expected.GreedyTokenIds.Length, PromptTopLogprobs = checkpoint.Config.Vocab, JoinsAt = i,
        })];

        JobResult[] alone = Run(checkpoint, 1, RankSetup.Gpu, jobs)[0];
        GoldenComparison comparison = new();
        foreach ((GoldenCase expected, JobResult actual) in golden.Cases.Zip(alone))
            comparison.Add(expected, actual);
        Assert.That(comparison.MeanKl, Is.LessThanOrEqualTo(golden.Bfloat16Noise!.MeanKl));
        Assert.That(Run(checkpoint, degree, RankSetup.Gpu, jobs)[0].Select(result => result.ToString()), Is.EqualTo(alone.Select(result => result.ToString())));
    }

    private static JobResult[][] Run(ModelCheckpoint checkpoint, int degree, RankSetup setup, params Job[] jobs) =>
        RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, degree), setup, jobs, wrap: Staged);

    private static ICommunicator Staged(ICommunicator host, ITensorBackend ops) => new StagedCommunicator(host, ops);
}
