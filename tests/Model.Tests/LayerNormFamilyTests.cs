using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;

namespace TpServe.Model.Tests;

/// <summary>Families with layer norms, plain MLPs and parallel blocks against plain loops, and what is refused.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class LayerNormFamilyTests
{
    private const double Bound = 2e-3; // that of golden models in float32

    private static readonly Job Job = new() { Prompt = [.. Enumerable.Range(7, 25)], Chunk = 11, NewTokens = 1, PromptTopLogprobs = 389 };

    [Test]
    public void Model_InFloat32_MatchesPlainLoops([Values("starcoder2", "gpt_neox", "gpt_neox-sequential", "cohere2", "stablelm")] string name, [Values("reference", "cpu")] string device)
    {
        using RandomCheckpoint checkpoint = name == "gpt_neox-sequential" ? new RandomCheckpoint(OddModels.NeoxConfig(isParallel: false)) : OddModels.Create(name);
        bool isStarCoder = name == "starcoder2";
        double[][] expected = new NaiveTransformer(checkpoint, isStarCoder ? "mlp.c_fc" : "mlp.up_proj", isStarCoder ? "mlp.c_proj" : "mlp.down_proj").Logprobs(Job.Prompt);
        JobResult actual = RankGroup.RunAlone(checkpoint, device == "cpu" ? RankSetup.CpuFloat32 : RankSetup.Reference, [Job])[0];
        double largest = 0;
        for (int i = 0; i < expected.Length; i++)
            foreach ((int id, float logprob) in actual.Rows[i].TopIds.Zip(actual.Rows[i].TopLogprobs))
                largest = Math.Max(largest, Math.Abs(expected[i][id] - logprob));
        TestContext.Out.WriteLine($"{name}, {device}: largest difference {largest:e2}");
        Assert.That(largest, Is.LessThanOrEqualTo(Bound));
    }

    [Test]
    public void Load_OnADeviceWithoutLayerNorms_IsRefusedByName([Values("starcoder2", "gpt_neox", "cohere2", "stablelm")] string name)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(name);
        ModelLoadException fault = Assert.Throws<ModelLoadException>(() => RankGroup.RunAlone(checkpoint, RankSetup.CudaEmulated, [Job]))!;
        Assert.That(fault.Message, Does.Contain(name).And.Contain("layer norms").And.Contain("cuda"));
    }

    [Test]
    public void FileRow_OfHeadTriples_FindsQueriesThenKeysThenValues() // two heads of two rows: the file has q0 k0 v0 q1 k1 v1
    {
        int[] rows = [.. Enumerable.Range(0, 12).Select(row => Weights.TensorRows.FileRow(RowOrder.HeadTriples, row, headDim: 2, rows: 12))];
        Assert.That(rows, Is.EqualTo(new[] { 0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11 }));
    }
}
