using System.Runtime.InteropServices;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Collectives.Local;
using TpServe.Collectives.Staged;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Model;
using TpServe.Model.Sampling;
using TpServe.Model.Tests;
using TpServe.Model.Weights;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.InterpretedGpu.Tests;

/// <summary>Whole models through everything a GPU runs through: ILGPU's CUDA accelerator, the PTX it compiles, tensor cores, graphs; the driver alone is ours.</summary>
/// <remarks>The interpreter runs warps in random order and fails on races, stray and unwritten reads, unfinished copies and divergence.</remarks>
[NonParallelizable]
public sealed class InterpretedModelTests
{
    private const int MostLaunchesALayer = 14, MostLaunchesAStep = 8;

    private static readonly RankSetup Setup = RankSetup.Gpu with { Blocks = 16, Limits = new ModelLimits(MaxModelLength: 128, MaxStepTokens: 64) };

    private static readonly Job[] Decoding = [new() { Prompt = [5, 17, 40, 8, 99], NewTokens = 8 }, new() { Prompt = [9, 2, 4], NewTokens = 6, JoinsAt = 1 }];

    /// <summary>Every kind of row: greedy, top-k, whole distributions, penalties, ids allowed and suppressed, logprobs.</summary>
    private static readonly Job[] Mixture =
    [
        new() { Prompt = [5, 17, 40, 8, 99], NewTokens = 7 },
        new() { Prompt = [9, 2, 4], NewTokens = 7, Settings = new() { Temperature = 1f, Seed = 1 } },
        new() { Prompt = [3], NewTokens = 7, JoinsAt = 1, TopLogprobs = 3, Settings = new() { Temperature = 0.9f, TopK = 20, TopP = 0.9f, Seed = 2 } },
        new() { Prompt = [7, 7], NewTokens = 7, JoinsAt = 1, Settings = new() { Temperature = 1.1f, TopP = 0.8f, MinP = 0.01f, Seed = 3, RepetitionPenalty = 1.2f, FrequencyPenalty = 0.3f } },
        new() { Prompt = [1, 2, 3], NewTokens = 7, JoinsAt = 1, TopLogprobs = 0, Settings = new() { AllowedTokenIds = [4, 5, 6], EndTokenIds = [4], MinTokens = 2, LogitBias = [new(5, 1f)] } },
    ];

    [OneTimeSetUp]
    public void PutTheCardIn()
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture != Architecture.X64)
            Assert.Ignore("the library that stands for the driver is written for Linux on x86-64");
        DriverFunctions.Install();
        GpuSurvey survey = GpuProbe.Find();
        Assert.That(survey.Gpus, Has.Count.EqualTo(1), survey.Reason);
        Assert.That(survey.Gpus[0].Name, Is.EqualTo("Interpreted GPU"));
    }

    [TearDown]
    public void NoKernelFailed() => Assert.That(Card.Fault, Is.Null);

    [TestCase("models/llama-gqa-tied-rope3")]
    [TestCase("models/gemma2")]                     // windows, soft caps, norms on both sides
    [TestCase("gguf-models/llama-q4_k-q6_k.gguf")]  // sub-blocks of 32 and 16, minimums
    [TestCase("gguf-models/llama-q8_0.gguf")]
    public void Model_AnyDegreeAndChunk_HasTheSameBits(string path)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore(path));
        Job[] jobs =
        [
            new() { Prompt = [5, 17, 40, 8, 99, 3, 7, 12, 200, 33, 21], Chunk = 512, NewTokens = 3, PromptTopLogprobs = 8 },
            new() { Prompt = [9, 2, 4], NewTokens = 4, JoinsAt = 1, TopLogprobs = 2 },
        ];
        long before = Card.MatrixInstructions;
        string alone = Run(checkpoint, 1, jobs);
        Assert.That(Card.MatrixInstructions, Is.GreaterThan(before));
        Assert.That(Run(checkpoint, 1, [.. jobs.Select(job => job with { Chunk = 4 })]), Is.EqualTo(alone));
        Assert.That(Run(checkpoint, 2, jobs), Is.EqualTo(alone));
    }

    [Test]
    [Category("Slow")]
    [Explicit("a minute a degree")]
    public void SmolLm2_DegreesOneTwoThree_HaveTheSameBits()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(Path.Combine(TestData.Repository, "models", "SmolLM2-135M-Instruct.Q4_1.gguf"));
        Job[] jobs = [new() { Prompt = [504, 3575, 282, 4649, 314], NewTokens = 3, PromptTopLogprobs = 4 }]; // "The capital of France is"
        string alone = Run(checkpoint, 1, jobs);
        Assert.That(Run(checkpoint, 2, jobs), Is.EqualTo(alone));
        Assert.That(Run(checkpoint, 3, jobs), Is.EqualTo(alone));
    }

    /// <summary>Golden bounds 2 and 3, on one prompt: no further away than the reference in bfloat16, or than llama.cpp.</summary>
    [TestCase("models/llama-mha")]
    [TestCase("gguf-models/llama-q8_0.gguf")]
    [TestCase("gguf-models/llama-q4_1.gguf")]
    [TestCase("gguf-models/llama-q4_k-q6_k.gguf")]
    [TestCase("gguf-models/llama-q5_k.gguf")]
    public void Model_WithDefaults_IsWithinItsBound(string path)
    {
        string found = TestData.FindOrIgnore(path);
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(found);
        GoldenModel golden = GoldenModel.Read(Directory.Exists(found) ? Path.Combine(found, "expected.json") : Path.ChangeExtension(found, ".expected.json"));
        GoldenDistance bound = golden.Bfloat16Noise ?? golden.LlamaCppYardstick ?? new GoldenDistance { MeanKl = 0.01 };
        GoldenCase expected = golden.Cases.First(candidate => candidate.PromptTokenIds.Length is > 30 and < 50);
        Job job = new() { Prompt = expected.PromptTokenIds, Chunk = 64, PromptTopLogprobs = checkpoint.Config.Vocab };
        JobResult actual = RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, 1), Setup, [job], wrap: (comm, ops) => new StagedCommunicator(comm, ops))[0][0];
        GoldenComparison comparison = new();
        comparison.Add(expected, actual);
        GoldenComparison cpu = new();
        cpu.Add(expected, RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, [job])[0]);
        TestContext.Out.WriteLine($"mean KL {comparison.MeanKl:e2}, on the CPU {cpu.MeanKl:e2}, bound {bound.MeanKl:e2}");
        Assert.That(comparison.MeanKl, Is.LessThanOrEqualTo(bound.MeanKl));
    }

    [Test]
    public void DecodeSteps_ReplayedAsGraphs_GiveTheTokensOfLaunchedOnes()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore("models/llama-mha"));
        string launched = Run(checkpoint, 1, Decoding); // staged collectives run on the host: nothing is recorded

        using LoneRank lone = new(checkpoint);
        int graphs = Card.GraphLaunches;
        Assert.That(Text(StepDriver.Run(lone.Rank, Decoding)), Is.EqualTo(launched));
        Assert.That(lone.Rank.RecordingFault, Is.Null);
        Assert.That(lone.Ops.GraphLaunches, Is.EqualTo(Card.GraphLaunches - graphs).And.GreaterThan(3));

        long before = lone.Ops.Launches;
        StepBatch batch = new(Setup.BlockTokens);
        batch.Clear(100);
        batch.Samples.Add(new SampleRow(batch.AddSequence([7], 0, [0]), SamplingSettings.Greedy, new int[] { 7 }, 1, -1));
        lone.Rank.Run(batch);
        Assert.That(lone.Ops.Launches - before, Is.LessThanOrEqualTo(MostLaunchesAStep + checkpoint.Config.Layers * MostLaunchesALayer), "kernels of a decode step");
    }

    [Test]
    public void DecodeSteps_OfEveryMixtureOfSettings_AreReplayedAndGiveTheBitsOfLaunchedOnes()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore("models/llama-gqa-tied-rope3"));
        string[] launched = Each(checkpoint, 1, Mixture); // staged collectives run on the host: nothing is recorded, nothing padded
        using LoneRank lone = new(checkpoint);
        Assert.That(StepDriver.Run(lone.Rank, Mixture).Select(result => result.ToString()), Is.EqualTo(launched));
        Assert.That(lone.Rank.RecordingFault, Is.Null);
        Assert.That(lone.Ops.GraphLaunches, Is.GreaterThan(3));
        Assert.That(Each(checkpoint, 2, Mixture), Is.EqualTo(launched), "two ranks");
        for (int i = 1; i < Mixture.Length; i++)
            Assert.That(Each(checkpoint, 1, [Mixture[i]]), Is.EqualTo(launched[i..(i + 1)]), $"job {i} alone");
    }

    [Test]
    public void Sequences_ThatBecomeNaN_EndAlone() => BadSequences.ShortOnesEndAlone(Setup, degree: 1);

    [Test]
    public void DecodeSteps_WhoseRecordingTheDriverRefuses_GiveTheSameTokensAndSayWhy()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore("models/llama-mha"));
        string launched = Run(checkpoint, 1, Decoding);
        using LoneRank lone = new(checkpoint);
        Card.RefusesRecordings = true;
        try
        {
            Assert.That(Text(StepDriver.Run(lone.Rank, Decoding)), Is.EqualTo(launched));
        }
        finally
        {
            Card.RefusesRecordings = false;
        }
        Assert.That(lone.Rank.RecordingFault, Does.Contain("cuStreamEndCapture").And.Contain("901"));
        Assert.That(lone.Ops.GraphLaunches, Is.Zero);
    }

    private static string Run(ModelCheckpoint checkpoint, int degree, Job[] jobs) => string.Join("\n", Each(checkpoint, degree, jobs));

    private static string[] Each(ModelCheckpoint checkpoint, int degree, Job[] jobs) =>
        [.. RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, degree), Setup, jobs, wrap: (comm, ops) => new StagedCommunicator(comm, ops))[0].Select(result => result.ToString())];

    private static string Text(JobResult[] results) => string.Join("\n", results.Select(result => result.ToString()));

    /// <summary>A group of one whose collectives run on the device, so that its decode steps are recorded.</summary>
    private sealed class LoneRank : IDisposable
    {
        private readonly SingleRank _comm;
        private readonly DenseTransformer _model;
        private readonly KvCache _cache;

        public LoneRank(ModelCheckpoint checkpoint)
        {
            ShardPlan plan = new(checkpoint.Config, Partition.Even(checkpoint.Config, 1), 0);
            Ops = new CudaBackend(CudaContext.Open(0));
            _comm = new SingleRank(1, Ops);
            _model = WeightLoader.Load(checkpoint, plan, Ops, _comm, Setup.Limits);
            _cache = new KvCache(checkpoint.Config, plan, ElementType.Float16, Setup.BlockTokens, Setup.Blocks, Ops);
            Rank = new ModelRank(_model, _cache, plan, Ops, _comm);
        }

        public CudaBackend Ops { get; }

        public ModelRank Rank { get; }

        public void Dispose()
        {
            _cache.Dispose();
            _model.Dispose();
            _comm.Dispose();
            Ops.Dispose();
        }
    }
}
