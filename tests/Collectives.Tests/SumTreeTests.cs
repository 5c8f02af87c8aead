using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests;

[TestFixtureSource(typeof(TestGroup), nameof(TestGroup.Transports))]
public sealed class SumTreeTests(string transport)
{
    [Test]
    public void SumTree_RandomUnevenBoundaries_HasTheBitsOfOneRank([Range(1, 5)] int degree)
    {
        Random random = new(degree);
        using TestGroup group = TestGroup.Create(transport, degree);
        for (int round = 0; round < 30; round++)
        {
            int leaves = random.Next(1, 33), rows = random.Next(1, 5), columns = random.Next(1, 300);
            Check(group, leaves, LeafSums.Boundaries(leaves, degree, random), rows, columns, seed: round);
        }
    }

    [TestCase(2, 9, new[] { 0, 5, 9 })]         // SmolLM2's heads at degree 2
    [TestCase(3, 9, new[] { 0, 9, 9, 9 })]      // all on the first rank
    [TestCase(3, 9, new[] { 0, 0, 0, 9 })]      // all on the last rank
    [TestCase(4, 1, new[] { 0, 0, 1, 1, 1 })]   // one leaf
    [TestCase(5, 32, new[] { 0, 1, 15, 17, 31, 32 })] // most pieces
    public void SumTree_ParticularBoundaries_HasTheBitsOfOneRank(int degree, int leaves, int[] boundaries)
    {
        using TestGroup group = TestGroup.Create(transport, degree);
        Check(group, leaves, boundaries, rows: 3, columns: 577, seed: 1);
    }

    [TestCase(2, 128, 577)]  // one-shot, several chunks of small blocks
    [TestCase(2, 700, 577)]  // two-shot on every transport
    [TestCase(3, 700, 577)]
    [TestCase(5, 300, 1000)]
    [TestCase(2, 3000, 577)] // more than a block of any transport
    [TestCase(3, 3000, 577)]
    public void SumTree_LargeMessage_HasTheBitsOfOneRank(int degree, int rows, int columns)
    {
        using TestGroup group = TestGroup.Create(transport, degree);
        Check(group, 9, LeafSums.Boundaries(9, degree, new Random(5)), rows, columns, seed: 2);
    }

    [Test]
    public void SumTree_NoRows_Returns()
    {
        using TestGroup group = TestGroup.Create(transport, 2);
        group.Run(end =>
        {
            using Matrix none = new(0, 8);
            end.SumTree(none.View, new LeafShare(new Leaves(1, 4), [0, 2, 4], end.Rank), none.View);
        });
    }

    [Test]
    public void SumTree_RankOrderInstead_DiffersFromTheTree()
    {
        // Negative control: had the ranks' totals been added, the bits would depend on the degree.
        int[] boundaries = [0, 5, 9];
        float[][] leaves = LeafSums.Random(9, 576, seed: 3);
        float[] actual = Sum(transport, leaves, boundaries);
        Assert.Multiple(() =>
        {
            Assert.That(actual, Is.EqualTo(LeafSums.Whole(leaves, 0, 9)));
            Assert.That(actual, Is.Not.EqualTo(LeafSums.RankOrder(leaves, boundaries)));
        });
    }

    [Test]
    public void SumTree_WrongShare_IsRefusedAndLeavesTheGroupAlive()
    {
        using TestGroup group = TestGroup.Create(transport, 2);
        group.Run(end =>
        {
            using Matrix part = new(1, 8), whole = new(1, 8);
            LeafShare another = new(new Leaves(1, 2), [0, 1, 2], 1 - end.Rank);
            Assert.That(() => end.SumTree(part.View, another, whole.View), Throws.ArgumentException);
            end.Barrier();
        });
    }

    [Test]
    public void Window_GroupDisposedMeanwhile_CanStillBeWritten()
    {
        using TestGroup group = TestGroup.Create(transport, 2);
        Tensor? window = null;
        group.Run(end => Sum(end, 8));
        group.Run(end => window = end.Rank == 0 ? end.Window(Share(end), 1, 8) : window);
        Assert.That(window is not null, Is.EqualTo(transport.StartsWith("shm", StringComparison.Ordinal)));
        group.Ends[0].Dispose();
        window?.HostSpan<float>(0).Fill(1);

        static LeafShare Share(ICommunicator end) => new(new Leaves(1, 2), [0, 1, 2], end.Rank);
        static void Sum(ICommunicator end, int columns)
        {
            using Matrix part = new(1, columns), whole = new(1, columns);
            end.SumTree(part.View, Share(end), whole.View);
        }
    }

    private static float[] Sum(string transport, float[][] leaves, int[] boundaries)
    {
        using TestGroup group = TestGroup.Create(transport, boundaries.Length - 1);
        float[]? sum = null;
        group.Run(end =>
        {
            LeafShare share = new(new Leaves(1, leaves.Length), boundaries, end.Rank);
            using Matrix pieces = new(share.Pieces, leaves[0].Length, LeafSums.Pieces(leaves, share)), whole = new(1, leaves[0].Length);
            end.SumTree(pieces.View, share, whole.View);
            if (end.Rank == 0)
                sum = whole.Floats.ToArray();
        });
        return sum!;
    }

    private static void Check(TestGroup group, int leafCount, int[] boundaries, int rows, int columns, int seed)
    {
        float[][] leaves = LeafSums.Random(leafCount, rows * columns, seed);
        float[] expected = LeafSums.Whole(leaves, 0, leafCount);
        group.Run(end =>
        {
            LeafShare share = new(new Leaves(1, leafCount), boundaries, end.Rank);
            using Matrix pieces = new(share.Pieces * rows, columns, LeafSums.Pieces(leaves, share)), y = new(rows, columns);
            end.SumTree(pieces.View, share, y.View);
            Assert.That(y.Floats.SequenceEqual(expected), Is.True, $"rank {end.Rank}, {leafCount} leaves at {string.Join(' ', boundaries)}, {rows} x {columns}");

            // Computed where the peers read them, and taken row by row; twice, for each rank has two blocks.
            for (int round = 0; round < 2; round++)
            {
                Tensor parts = end.Window(share, rows, columns) ?? pieces.View;
                for (int row = 0; row < parts.Rows; row++)
                    pieces.View.HostSpan<float>(row).CopyTo(parts.HostSpan<float>(row));
                y.Floats.Clear();
                TakenRows taken = new(columns);
                end.SumTree(parts, share, y.View, taken);
                Assert.That(taken.Values.SequenceEqual(expected), Is.True, $"rank {end.Rank}, {leafCount} leaves at {string.Join(' ', boundaries)}, {rows} x {columns}, in place");
                Assert.That(y.Floats.SequenceEqual(expected), Is.True);
            }
        });
    }

    /// <summary>Keeps the rows it is handed.</summary>
    private sealed class TakenRows(int columns) : ISumConsumer
    {
        public List<float> Values { get; } = [];

        public void Take(Tensor sums, int first)
        {
            Assert.That(first * columns, Is.EqualTo(Values.Count));
            for (int row = 0; row < sums.Rows; row++)
                Values.AddRange(sums.HostSpan<float>(row));
        }
    }
}
