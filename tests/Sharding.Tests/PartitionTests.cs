using NUnit.Framework;
using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Tests;

public sealed class PartitionTests
{
    private static ModelConfig Config(int heads, int kvHeads, int intermediate, int vocab) => new()
    {
        Architecture = "llama",
        Hidden = heads * 8,
        Layers = 2,
        Heads = heads,
        KvHeads = kvHeads,
        HeadDim = 8,
        Intermediate = intermediate,
        Vocab = vocab,
        MaxPositions = 512,
        NormEpsilon = 1e-5f,
        TieEmbeddings = false,
        Rope = new RopeConfig { Theta = 10000, RotaryDim = 8 },
    };

    [Test]
    public void Even_SmolLm2AtDegree2_SplitsHeads5And4()
    {
        Partition partition = Partition.Even(Config(9, 3, 1536, 49152), 2);
        Assert.That(partition.HeadBoundaries, Is.EqualTo(new[] { 0, 5, 9 }));
        Assert.That(partition.LeafBoundaries, Is.EqualTo(new[] { 0, 12, 24 }));
        Assert.That(partition.VocabBoundaries, Is.EqualTo(new[] { 0, 24576, 49152 }));
    }

    [Test]
    public void Even_EqualCostChoices_PreferKvGroupBoundaries()
    {
        // 10 heads over 4 ranks are two shares of 3 and two of 2; groups of 5 ask for a boundary at 5.
        Assert.That(Partition.Even(Config(10, 2, 512, 1000), 4).HeadBoundaries[2], Is.EqualTo(5));
    }

    [Test]
    public void Even_AnyDegreeAndShape_CoversEverythingWithSharesThatDifferByOne([Range(1, 20)] int degree, [Values(1, 3, 7, 9)] int kvHeads)
    {
        ModelConfig config = Config(kvHeads * 3, kvHeads, 1000, 997);
        Partition partition = Partition.Even(config, degree);
        partition.CheckAgainst(config);
        IEnumerable<int> sizes = Enumerable.Range(0, degree).Select(rank => partition.HeadBoundaries[rank + 1] - partition.HeadBoundaries[rank]);
        Assert.That(sizes.Max() - sizes.Min(), Is.LessThanOrEqualTo(1));
    }

    [Test]
    public void Weighted_UnevenWeights_GiveSharesInProportion()
    {
        Partition partition = Partition.Weighted(Config(9, 3, 1536, 49152), [3, 1]);
        Assert.That(partition.HeadBoundaries, Is.EqualTo(new[] { 0, 7, 9 }));
        Assert.That(partition.LeafBoundaries, Is.EqualTo(new[] { 0, 18, 24 }));
    }

    [Test]
    public void Weighted_ZeroWeight_OwnsNothing()
    {
        Partition partition = Partition.Weighted(Config(9, 3, 1536, 49152), [1, 0, 1]);
        Assert.That(partition.HeadBoundaries[2] - partition.HeadBoundaries[1], Is.Zero);
    }

    [TestCase(0)]
    [TestCase(-1)]
    [TestCase(65)]
    public void Even_DegreeOutOfRange_NamesValueAndLimit(int degree)
    {
        ShardingException? fault = Assert.Throws<ShardingException>(() => Partition.Even(Config(9, 3, 1536, 49152), degree));
        Assert.That(fault!.Message, Does.Contain(degree.ToString(System.Globalization.CultureInfo.InvariantCulture)).And.Contain("64"));
    }

    [Test]
    public void Weighted_BadWeights_AreRefused()
    {
        ModelConfig config = Config(9, 3, 1536, 49152);
        Assert.Throws<ShardingException>(() => Partition.Weighted(config, [1, -1]));
        Assert.Throws<ShardingException>(() => Partition.Weighted(config, [0, 0]));
        Assert.Throws<ShardingException>(() => Partition.Weighted(config, [1, double.NaN]));
    }

    [Test]
    public void ShardPlan_KvHeadWhoseGroupIsCut_LivesOnBothRanks()
    {
        ModelConfig config = Config(9, 3, 1536, 49152);
        Partition partition = Partition.Even(config, 2);
        ShardPlan first = new(config, partition, 0), second = new(config, partition, 1);
        Assert.Multiple(() =>
        {
            Assert.That((first.FirstKvHead, first.LocalKvHeads), Is.EqualTo((0, 2)));
            Assert.That((second.FirstKvHead, second.LocalKvHeads), Is.EqualTo((1, 2)));
            Assert.That(first.KvHeadOfHead, Is.EqualTo(new[] { 0, 0, 0, 1, 1 }));
            Assert.That(second.KvHeadOfHead, Is.EqualTo(new[] { 0, 1, 1, 1 }));
            Assert.That(second.OwnsKvHeadFirst(1), Is.False);
            Assert.That(second.OwnsKvHeadFirst(2), Is.True);
        });
    }

    [Test]
    public void ShardPlan_SlicesOfAllRanks_CoverEachMatrixOnce([Range(1, 12)] int degree)
    {
        ModelConfig config = Config(9, 3, 1000, 997);
        Partition partition = Partition.Even(config, degree);
        long queries = 0, downs = 0, heads = 0;
        for (int rank = 0; rank < degree; rank++)
        {
            ShardPlan plan = new(config, partition, rank);
            queries += plan.Slice(WeightRole.Query).Elements;
            downs += plan.Slice(WeightRole.Down).Elements;
            heads += plan.Slice(WeightRole.Head).Elements;
        }
        Assert.That((queries, downs, heads), Is.EqualTo(((long)72 * 72, (long)1000 * 72, (long)997 * 72)));
    }
}
