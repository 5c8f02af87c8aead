using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Sharding.Planning;

namespace TpServe.Sharding.Tests;

/// <summary>How mixtures of experts are split and counted.</summary>
public sealed class MixtureShardTests
{
    private static readonly TensorInfo[] Tensors =
    [
        new("model.layers.1.mlp.experts.gate_proj.weight", TensorType.BF16, [8, 192, 64], RowOrder.Plain),
        new("model.layers.1.mlp.experts.0.down_proj.weight", TensorType.BF16, [64, 192], RowOrder.Plain),
        new("model.layers.1.mlp.shared_expert.up_proj.weight", TensorType.BF16, [384, 64], RowOrder.Plain),
        new("model.layers.1.mlp.gate.weight", TensorType.F32, [8, 64], RowOrder.Plain),
    ];

    private static readonly ModelConfig Config = new()
    {
        Architecture = "qwen2_moe",
        Hidden = 64,
        Layers = 2,
        Heads = 4,
        KvHeads = 2,
        HeadDim = 16,
        Intermediate = 1024,
        Vocab = 100,
        MaxPositions = 512,
        NormEpsilon = 1e-5f,
        TieEmbeddings = false,
        Rope = new RopeConfig { Theta = 10000, RotaryDim = 16 },
        Experts = new ExpertsConfig { Count = 8, PerToken = 2, Intermediate = 192, Layers = [false, true], SharedIntermediate = 384, SharedGate = true },
    };

    [Test]
    public void Plan_Mixture_SplitsEveryExpertAndTheOthersAlike()
    {
        ShardPlan plan = new(Config, Partition.Weighted(Config, [1, 2]), 1);
        Assert.Multiple(() =>
        {
            Assert.That(plan.Slice(WeightRole.ExpertGate), Is.EqualTo(new WeightSlice(64, 128, 0, 64)));
            Assert.That(plan.Slice(WeightRole.ExpertDown), Is.EqualTo(new WeightSlice(0, 64, 64, 128)));
            Assert.That(plan.SharedBoundaries, Is.EqualTo(new[] { 128, 256, 384 }));
            Assert.That(plan.Slice(WeightRole.Down).FirstColumn, Is.EqualTo(320), "a third of 16 leaves, at the nearest");
            Assert.That(plan.ToString(), Does.Contain("columns 64..191 of 192 of each of 8 experts"));
        });
    }

    [Test]
    public void Plan_AnyDegree_CoversEveryMlpOnce()
    {
        for (int degree = 1; degree <= 6; degree++)
        {
            Partition partition = Partition.Even(Config, degree);
            ShardPlan[] plans = [.. Enumerable.Range(0, degree).Select(rank => new ShardPlan(Config, partition, rank))];
            Assert.That(plans.Sum(plan => plan.MlpShare.Columns), Is.EqualTo(192));
            Assert.That(plans.Sum(plan => plan.DenseShare.Columns), Is.EqualTo(1024));
            Assert.That(plans.Sum(plan => plan.SharedBoundaries[^1] - plan.SharedBoundaries[0]), Is.EqualTo(384));
        }
    }

    [Test]
    public void Leaves_OfASharedMlp_AreNeverMoreThanAnExperts([Values(1, 32, 90, 191, 192, 193, 384, 5632)] int width)
    {
        ModelConfig config = Config with { Experts = Config.Experts! with { SharedIntermediate = width } };
        Assert.That(Leaves.OfShared(config).Count, Is.InRange(1, Leaves.OfMlp(config).Count));
    }

    [Test]
    public void Work_OfExperts_IsOfThoseThatAreChosen([Values] bool tied)
    {
        ModelConfig config = Config with { TieEmbeddings = tied };
        Assert.That(
            new ShardWork(config, Tensors).Of(new ShardPlan(config, Partition.Even(config, 1), 0)),
            Is.EqualTo(2 * 64 * ((8 * 192 / 4) + (192 / 4) + 384)).Within(1e-6));
    }

    [Test]
    public void Costs_OfExperts_StoreAllAndReadThoseThatAreChosen()
    {
        ModelCosts costs = ModelCosts.Of(Config, Tensors, kvHeadBytes: 64);
        Assert.That(costs.Column.Stored * 192, Is.EqualTo(2 * 64 * ((8 * 192) + 192 + 384)).Within(1e-6));
        Assert.That(costs.ReplicatedBytes, Is.EqualTo(8 * 64 * 4));
        ProductBytes experts = costs.Column.Products.Single(product => product.Chosen < 1);
        Assert.That(experts.Chosen, Is.EqualTo(0.25));
        Assert.That(experts.Read(1), Is.EqualTo((experts.Bytes / 4, 1)));
        Assert.That(experts.Read(400).Bytes, Is.EqualTo(experts.Bytes).Within(1e-6));
        Assert.That(experts.Read(400).Rows, Is.EqualTo(100));
    }
}
