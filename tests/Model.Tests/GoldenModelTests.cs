using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Kernels;
using TpServe.Kernels.Reference;
using TpServe.Model.Families;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>Tiny checkpoints against what transformers computed for them, one folder a family or variant.</summary>
public sealed class GoldenModelTests
{
    private static readonly RankSetup Exact = new() { Backend = () => new ReferenceBackend() };

    private static IEnumerable<string> Folders => GoldenModel.Names("models", "*");

    private static IEnumerable<string> GgufFiles => GoldenModel.Names("gguf-models", "*.gguf");

    [TestCaseSource(nameof(Folders))]
    public void Checkpoint_InFloat32_MatchesTransformersWithin2e3(string name)
    {
        string folder = TestData.FindOrIgnore($"models/{name}");
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(folder);
        if (!FamilyRegistry.Architectures.Contains(checkpoint.Config.Architecture))
        {
            Assert.That(
                () => FamilyRegistry.Find(checkpoint.Config.Architecture),
                Throws.TypeOf<ModelLoadException>().With.Message.EqualTo(
                    $"architecture '{checkpoint.Config.Architecture}' is not supported; supported are: gemma2, gemma3, granite, llama, mistral, olmo2, phi3, qwen2, qwen3, smollm3."));
            return;
        }
        AssertWithinBound1(checkpoint, GoldenModel.Read(Path.Combine(folder, "expected.json")));
    }

    [TestCaseSource(nameof(GgufFiles))]
    public void GgufFile_InFloat32_MatchesTransformersWithin2e3(string name)
    {
        string file = TestData.FindOrIgnore($"gguf-models/{name}");
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(file);
        AssertWithinBound1(checkpoint, GoldenModel.Read(Path.ChangeExtension(file, ".expected.json")));
    }

    private static void AssertWithinBound1(ModelCheckpoint checkpoint, GoldenModel golden)
    {
        const double Bound = 2e-3;
        Job[] jobs = [.. golden.Cases.Select(expected => new Job
        {
            Prompt = expected.PromptTokenIds,
            Chunk = 48,
            NewTokens = expected.GreedyTokenIds.Length,
            PromptTopLogprobs = checkpoint.Config.Vocab,
        })];
        JobResult[] results = RankGroup.RunAlone(checkpoint, Exact, jobs);

        GoldenComparison comparison = new();
        foreach ((GoldenCase expected, JobResult actual) in golden.Cases.Zip(results))
            comparison.Add(expected, actual);
        TestContext.Out.WriteLine($"largest difference {comparison.LargestDifference:e2}, mean KL {comparison.MeanKl:e2}");
        Assert.That(comparison.LargestDifference, Is.LessThanOrEqualTo(Bound));
        foreach ((GoldenCase expected, JobResult actual) in golden.Cases.Zip(results))
            GoldenComparison.AssertGreedy(expected, actual, 4 * Bound);
    }
}
