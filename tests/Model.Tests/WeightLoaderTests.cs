using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Collectives.Local;
using TpServe.Kernels;
using TpServe.Kernels.Reference;
using TpServe.Model.Families;
using TpServe.Model.Weights;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

public sealed class WeightLoaderTests
{
    private const string QueryProjection = "model.layers.1.self_attn.q_proj.weight";

    private static readonly Job[] Jobs = [new() { Prompt = [3, 1, 4, 1, 5, 9, 2, 6], NewTokens = 6, PromptTopLogprobs = 4 }];

    [Test]
    public void FormatOf_EveryStorageType_HasItsNameAndBlock([Values] TensorType type)
    {
        if (!type.IsWeight())
            Assert.Pass("Parts of a quantised matrix are no weights.");
        WeightFormat format = TensorRows.FormatOf(new TensorInfo("", type, [1, 256], RowOrder.Plain));
        Assert.That(format.ToString(), Is.EqualTo(type.ToString()));
        Assert.That((format.BlockValues(), format.BlockBytes()), Is.EqualTo((type.BlockElements(), type.BlockBytes())));
        Assert.That(format.PanelBits(), Is.EqualTo(type.HeldBits()), "what plans reckon with is what panels take");
    }

    [Test]
    public void Load_MissingTensor_NamesItAndItsShape()
    {
        using RandomCheckpoint checkpoint = OddModels.Create("llama");
        checkpoint.Remove(QueryProjection);
        Assert.That(() => Load(checkpoint), Throws.TypeOf<ModelLoadException>()
            .With.Message.EqualTo($"random: tensor '{QueryProjection}': expected [112, 64], found no such tensor."));
    }

    [Test]
    public void Load_WrongShape_NamesExpectedAndFound()
    {
        using RandomCheckpoint checkpoint = OddModels.Create("llama");
        checkpoint.Add(QueryProjection, TensorType.F32, [64, 112], new float[64 * 112]);
        Assert.That(() => Load(checkpoint), Throws.TypeOf<ModelLoadException>()
            .With.Message.EqualTo($"random: tensor '{QueryProjection}': expected [112, 64], found [64, 112]."));
    }

    [Test]
    public void Load_UnusedTensor_NamesIt()
    {
        using RandomCheckpoint checkpoint = OddModels.Create("llama");
        checkpoint.Add("model.layers.0.self_attn.q_proj.bias", TensorType.F32, [112], new float[112]);
        Assert.That(() => Load(checkpoint), Throws.TypeOf<ModelLoadException>()
            .With.Message.Contains("tensor 'model.layers.0.self_attn.q_proj.bias': expected no tensor of this name").And.Message.Contains("found [112]"));
    }

    [Test]
    public void Load_UnknownArchitecture_ListsTheKnownOnes()
    {
        using RandomCheckpoint checkpoint = OddModels.Create("llama");
        Assert.That(() => FamilyRegistry.Find("mamba"), Throws.TypeOf<ModelLoadException>().With.Message.EqualTo(
            "architecture 'mamba' is not supported; supported are: cohere, cohere2, deepseek_v2, deepseek_v3, gemma2, gemma3, glm4_moe, gpt_neox, gpt_oss, granite, granitemoe, llama, mistral, mixtral, olmo2, olmoe, phi3, qwen2, qwen2_moe, qwen3, qwen3_moe, smollm3, stablelm, starcoder2."));
    }

    [Test]
    public void Load_UnknownActivation_NamesIt()
    {
        ModelConfig config = OddModels.Create("llama").Config with { HiddenActivation = "relu2" };
        using RandomCheckpoint checkpoint = new(config);
        Assert.That(() => Load(checkpoint), Throws.TypeOf<ModelLoadException>().With.Message.Contains("found 'relu2'"));
    }

    [Test]
    public void Load_BuffersThatFollowFromTheConfig_AreIgnored()
    {
        using RandomCheckpoint checkpoint = OddModels.Create("llama-grouped");
        string expected = Result(checkpoint);
        checkpoint.Add("model.layers.0.self_attn.rotary_emb.inv_freq", TensorType.F32, [8], new float[8]);
        checkpoint.Add("rope_freqs.weight", TensorType.F32, [8], new float[8]);
        checkpoint.Add("lm_head.weight", TensorType.F32, [389, 64], new float[389 * 64]); // tied: the embedding counts
        Assert.That(Result(checkpoint), Is.EqualTo(expected));
    }

    [Test]
    public void Load_InterleavedQueriesAndKeys_EqualThePlainOrder()
    {
        using RandomCheckpoint checkpoint = OddModels.Create("llama-biases-bf16");
        string expected = Result(checkpoint);
        for (int layer = 0; layer < checkpoint.Config.Layers; layer++)
            foreach (string projection in new[] { "q_proj", "k_proj" })
                foreach (string part in new[] { "weight", "bias" })
                    checkpoint.Interleave($"model.layers.{layer}.self_attn.{projection}.{part}");
        Assert.That(Result(checkpoint), Is.EqualTo(expected));
    }

    [Test]
    public void Load_NormsStoredLessOne_EqualThoseStoredWhole()
    {
        using RandomCheckpoint whole = OddModels.Create("gemma3");
        using RandomCheckpoint less = new(whole.Config with { NormWeightsAddOne = true });
        foreach (TensorInfo tensor in whole.Tensors.Values.Where(tensor => tensor.Name.Contains("norm", StringComparison.Ordinal)).ToArray())
        {
            // Halves of small integers, so that taking 1 off and adding it again is exact.
            float[] values = [.. Enumerable.Range(0, tensor.Shape[0]).Select(i => (i % 5 + 1) / 2f)];
            whole.Add(tensor.Name, TensorType.F32, tensor.Shape, values);
            less.Add(tensor.Name, TensorType.F32, tensor.Shape, [.. values.Select(value => value - 1)]);
        }
        Assert.That(Result(less), Is.EqualTo(Result(whole)));
    }

    [TestCase("llama", 1)]
    [TestCase("llama-q8_0", 3)]
    [TestCase("phi3", 2)]
    [TestCase("olmo2", 11)]
    public void Load_EveryRank_ReportsItsBytesAndDropsWhatItRead(string name, int degree)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(name);
        for (int rank = 0; rank < degree; rank++)
        {
            checkpoint.Dropped.Clear();
            List<(long Done, long Total)> reports = [];
            using ReferenceBackend ops = new();
            using SingleRank comm = new(1, ops);
            ShardPlan plan = new(checkpoint.Config, Partition.Even(checkpoint.Config, degree), rank);
            using DenseTransformer model = WeightLoader.Load(checkpoint, plan, ops, comm, new ModelLimits(64, 64), (done, total) => reports.Add((done, total)));
            Assert.Multiple(() =>
            {
                Assert.That(checkpoint.Dropped, Is.Unique);
                Assert.That(reports, Has.Count.EqualTo(checkpoint.Dropped.Count));
                Assert.That(reports.Select(report => report.Done), Is.Ordered);
                Assert.That(reports[^1].Done, Is.EqualTo(reports[^1].Total));
            });
        }
    }

    [Test]
    public void Load_TiedHead_HoldsOneMatrix()
    {
        using RandomCheckpoint checkpoint = OddModels.Create("gemma2");
        using ReferenceBackend ops = new();
        using SingleRank comm = new(1, ops);
        using DenseTransformer model = WeightLoader.Load(checkpoint, new ShardPlan(checkpoint.Config, Partition.Even(checkpoint.Config, 1), 0), ops, comm, new ModelLimits(64, 64));
        long matrices = checkpoint.Tensors.Values.Where(tensor => tensor.Shape.Count == 2).Sum(tensor => tensor.ByteCount);
        Assert.That(model.WeightBytes, Is.EqualTo(matrices));
    }

    private static void Load(ModelCheckpoint checkpoint) => RankGroup.RunAlone(checkpoint, RankSetup.Reference, []);

    private static string Result(ModelCheckpoint checkpoint) => RankGroup.RunAlone(checkpoint, RankSetup.Reference, Jobs)[0].ToString();
}
