using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Kernels.Cpu;
using TpServe.Model.Families;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>Tiny checkpoints, one a family or variant, and tiny GGUF files, one a format, against what transformers computed for them.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class GoldenModelTests
{
    /// <summary>Golden bound 1: every |Δ logprob| in float32.</summary>
    private const double Float32Bound = 2e-3;

    private static IEnumerable<string> Folders => GoldenModel.Names("models", "*");

    private static IEnumerable<string> GgufFiles => GoldenModel.Names("gguf-models", "*.gguf");

    private static IEnumerable<string> Quantised => GoldenModel.Names("quantised", "*");

    private static IEnumerable<string> Checkpoints =>
        Folders.Select(name => $"models/{name}").Concat(GgufFiles.Select(name => $"gguf-models/{name}")).Concat(Quantised.Select(name => $"quantised/{name}"));

    private static IEnumerable<TestCaseData> InFloat32() =>
        from device in new[] { "reference", "cpu" }
        from path in Checkpoints
        select new TestCaseData(device, path);

    [TestCaseSource(nameof(InFloat32))]
    public void Model_InFloat32_MatchesTransformers(string device, string path)
    {
        (ModelCheckpoint checkpoint, GoldenModel golden) = Open(path);
        using ModelCheckpoint closed = checkpoint;
        (GoldenComparison comparison, JobResult[] results) = Compare(checkpoint, golden, device == "cpu" ? RankSetup.CpuFloat32 : RankSetup.Reference);
        Assert.That(comparison.LargestDifference, Is.LessThanOrEqualTo(Float32Bound));
        foreach ((GoldenCase expected, JobResult actual) in golden.Cases.Zip(results))
            GoldenComparison.AssertGreedy(expected, actual, 4 * Float32Bound);
    }

    /// <summary>Golden bound 2: no further away than the reference itself when it runs in bfloat16.</summary>
    [TestCaseSource(nameof(Folders))]
    public void Checkpoint_WithDefaultSettings_IsWithinBfloat16Noise(string name)
    {
        (ModelCheckpoint checkpoint, GoldenModel golden) = Open($"models/{name}");
        using ModelCheckpoint closed = checkpoint;
        AssertNear(checkpoint, golden, golden.Bfloat16Noise!);
    }

    /// <summary>Golden bound 3: no further away than llama.cpp, or 0.01 where there is no such measure.</summary>
    [TestCaseSource(nameof(GgufFiles))]
    public void GgufFile_WithDefaultSettings_IsWithinYardstick(string name)
    {
        (ModelCheckpoint checkpoint, GoldenModel golden) = Open($"gguf-models/{name}");
        using ModelCheckpoint closed = checkpoint;
        AssertNear(checkpoint, golden, golden.LlamaCppYardstick ?? new GoldenDistance { MeanKl = 0.01, MaxAbsLogprobDifferenceInTop = 0.5 });
    }

    /// <summary>Golden bound 3 without a yardstick.</summary>
    [TestCaseSource(nameof(Quantised))]
    public void QuantisedFolder_WithDefaultSettings_IsWithinTheBound(string name)
    {
        (ModelCheckpoint checkpoint, GoldenModel golden) = Open($"quantised/{name}");
        using ModelCheckpoint closed = checkpoint;
        AssertNear(checkpoint, golden, new GoldenDistance { MeanKl = 0.01, MaxAbsLogprobDifferenceInTop = 0.5 });
    }

    [Test]
    public void QuantisedFolder_AnySplit_EqualsOneRank([ValueSource(nameof(Quantised))] string name)
    {
        (ModelCheckpoint checkpoint, GoldenModel golden) = Open($"quantised/{name}");
        using ModelCheckpoint closed = checkpoint;
        Job[] jobs = [.. golden.Cases.Take(2).Select(expected => new Job { Prompt = expected.PromptTokenIds, Chunk = 19, NewTokens = 8, PromptTopLogprobs = 3 })];
        string[] alone = [.. RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, jobs).Select(result => result.ToString())];
        foreach (double[] weights in new double[][] { [1, 1], [1, 4, 2] })
            Assert.That(RankGroup.Run(checkpoint, Sharding.Partition.Weighted(checkpoint.Config, weights), RankSetup.CpuDefault, jobs)[0].Select(result => result.ToString()), Is.EqualTo(alone));
    }

    /// <summary>Instruction sets differ in speed alone, so that a group of unlike processors works and a seed means the same on each.</summary>
    [TestCaseSource(nameof(Checkpoints))]
    public void Model_OnAnyInstructionPath_GivesTheBitsOfPlainLoops(string path)
    {
        (ModelCheckpoint checkpoint, GoldenModel golden) = Open(path);
        using ModelCheckpoint closed = checkpoint;
        Job[] jobs = [.. golden.Cases.Select(expected => new Job { Prompt = expected.PromptTokenIds, Chunk = 19, NewTokens = 8, PromptTopLogprobs = 3 })];
        string[] expected = Run(IsaPath.Scalar);
        foreach (IsaPath isa in Isa.Supported)
            Assert.That(Run(isa), Is.EqualTo(expected), isa.Name());

        string[] Run(IsaPath isa)
        {
            RankSetup setup = RankSetup.CpuDefault with { Backend = () => new CpuBackend(threads: 2, isa) };
            return [.. RankGroup.RunAlone(checkpoint, setup, jobs).Select(result => result.ToString())];
        }
    }

    private static void AssertNear(ModelCheckpoint checkpoint, GoldenModel golden, GoldenDistance limit)
    {
        (GoldenComparison comparison, JobResult[] results) = Compare(checkpoint, golden, RankSetup.CpuDefault);
        Assert.That(comparison.MeanKl, Is.LessThanOrEqualTo(limit.MeanKl));
        foreach ((GoldenCase expected, JobResult actual) in golden.Cases.Zip(results))
            GoldenComparison.AssertGreedy(expected, actual, 4 * limit.MaxAbsLogprobDifferenceInTop);
    }

    private static (ModelCheckpoint Checkpoint, GoldenModel Golden) Open(string path)
    {
        string found = TestData.FindOrIgnore(path);
        ModelCheckpoint checkpoint = ModelCheckpoints.Open(found);
        if (!FamilyRegistry.Architectures.Contains(checkpoint.Config.Architecture))
        {
            using (checkpoint)
                Assert.That(
                    () => FamilyRegistry.Find(checkpoint.Config.Architecture),
                    Throws.TypeOf<ModelLoadException>().With.Message.EqualTo(
                        $"architecture '{checkpoint.Config.Architecture}' is not supported; supported are: {string.Join(", ", KnownArchitectures.All)}."));
            Assert.Pass($"{checkpoint.Config.Architecture} is refused with the list of what is supported.");
        }
        return (checkpoint, GoldenModel.Read(Directory.Exists(found) ? Path.Combine(found, "expected.json") : Path.ChangeExtension(found, ".expected.json")));
    }

    private static (GoldenComparison Comparison, JobResult[] Results) Compare(ModelCheckpoint checkpoint, GoldenModel golden, RankSetup setup)
    {
        JobResult[] results = RankGroup.RunAlone(checkpoint, setup, [.. golden.Cases.Select(expected => new Job
        {
            Prompt = expected.PromptTokenIds,
            Chunk = 48,
            NewTokens = expected.GreedyTokenIds.Length,
            PromptTopLogprobs = checkpoint.Config.Vocab,
        })]);
        GoldenComparison comparison = new();
        foreach ((GoldenCase expected, JobResult actual) in golden.Cases.Zip(results))
            comparison.Add(expected, actual);
        TestContext.Out.WriteLine($"{checkpoint.Name}: largest difference {comparison.LargestDifference:e2}, mean KL {comparison.MeanKl:e2}, same top {comparison.Top1Agreement:p1}");
        return (comparison, results);
    }
}
