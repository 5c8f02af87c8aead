using TpServe.Kernels;

namespace TpServe.Collectives.Tests;

[TestFixtureSource(typeof(TestGroup), nameof(TestGroup.Transports))]
public sealed class MovingTests(string transport)
{
    [TestCase(new[] { 0, 3 }, 2)]
    [TestCase(new[] { 0, 3, 8 }, 1)]
    [TestCase(new[] { 0, 3, 3, 8 }, 7)]             // a rank without columns
    [TestCase(new[] { 0, 0, 0, 0, 1 }, 3)]          // only the last has any
    [TestCase(new[] { 0, 24576, 49152 }, 1)]        // a vocabulary's logits
    [TestCase(new[] { 0, 1000, 3001, 3002 }, 200)]  // several chunks
    [TestCase(new[] { 0, 4, 8 }, 0)]                // no rows
    public void AllGather_AnyColumns_LaysThemSideBySide(int[] firsts, int rows)
    {
        int degree = firsts.Length - 1;
        using TestGroup group = TestGroup.Create(transport, degree);
        group.Run(end =>
        {
            using Matrix x = Part(firsts, rows, end.Rank), y = new(rows, firsts[degree], ElementType.Int32);
            end.AllGather(x.View, firsts, y.View);
            AssertWhole(y, rows, firsts[degree]);
        });
    }

    [TestCase(new[] { 0, 3 }, 2)]
    [TestCase(new[] { 0, 3, 3, 8 }, 7)]
    [TestCase(new[] { 0, 1000, 3001, 3002 }, 200)]
    public void Gather_AnyColumns_ReachesRankZeroOnly(int[] firsts, int rows)
    {
        int degree = firsts.Length - 1;
        using TestGroup group = TestGroup.Create(transport, degree);
        group.Run(end =>
        {
            using Matrix x = Part(firsts, rows, end.Rank), y = new(rows, firsts[degree], ElementType.Int32);
            end.Gather(x.View, firsts, end.Rank == 0 ? y.View : default);
            if (end.Rank == 0)
                AssertWhole(y, rows, firsts[degree]);
            end.Barrier();
        });
    }

    [Test]
    public void Gather_RankZeroIsLate_SendersGoOn()
    {
        int[] firsts = [0, 4, 8, 12];
        using TestGroup group = TestGroup.Create(transport, 3);
        using CountdownEvent sent = new(2);
        group.Run(end =>
        {
            using Matrix x = Part(firsts, 1, end.Rank), y = new(1, 12, ElementType.Int32);
            if (end.Rank == 0)
                Assert.That(sent.Wait(TimeSpan.FromSeconds(10)), Is.True, "the senders wait for rank 0");
            for (int i = 0; i < 2; i++) // as many as there are blocks
                end.Gather(x.View, firsts, end.Rank == 0 ? y.View : default);
            if (end.Rank > 0)
                sent.Signal();
            else
                AssertWhole(y, 1, 12);
        });
    }

    [Test]
    public void Gather_ManyInARow_KeepTheirOrder()
    {
        int[] firsts = [0, 1, 2, 3];
        using TestGroup group = TestGroup.Create(transport, 3);
        group.Run(end =>
        {
            using Matrix x = new(1, 1, ElementType.Int32), y = new(1, 3, ElementType.Int32);
            for (int i = 0; i < 500; i++)
            {
                x.Ints[0] = i * 3 + end.Rank;
                end.Gather(x.View, firsts, end.Rank == 0 ? y.View : default);
                if (end.Rank == 0)
                    Assert.That(y.Bits, Is.EqualTo(new[] { i * 3, i * 3 + 1, i * 3 + 2 }));
            }
            end.Barrier();
        });
    }

    [TestCase(1, 0, 5)]
    [TestCase(2, 1, 5)]
    [TestCase(4, 2, 400_001)]
    [TestCase(2, 0, 0)]
    public void Broadcast_AnyRoot_CopiesItsBits(int degree, int root, int count)
    {
        using TestGroup group = TestGroup.Create(transport, degree);
        group.Run(end =>
        {
            using Matrix x = new(1, count, ElementType.Int32);
            for (int i = 0; i < count; i++)
                x.Ints[i] = i * 31 + end.Rank;
            end.Broadcast(x.View, root);
            for (int i = 0; i < count; i++)
                if (x.Ints[i] != i * 31 + root)
                    Assert.Fail($"rank {end.Rank} has {x.Ints[i]} at {i}");
        });
    }

    [TestCase(1, 10)]
    [TestCase(2, 577)]
    [TestCase(3, 90_001)]   // two-shot on every transport
    [TestCase(5, 40_000)]
    public void SumDisjoint_EachElementOnOneRank_KeepsItsBits(int degree, int count)
    {
        float[] special = [-0f, float.NaN, float.NegativeInfinity, float.Epsilon, 1f / 3f];
        using TestGroup group = TestGroup.Create(transport, degree);
        group.Run(end =>
        {
            using Matrix x = new(1, count), expected = new(1, count);
            for (int i = 0; i < count; i++)
            {
                expected.Floats[i] = special[i % special.Length];
                x.Floats[i] = i * 7 % degree == end.Rank ? expected.Floats[i] : 0f;
            }
            end.SumDisjoint(x.View);
            Assert.That(x.Ints.SequenceEqual(expected.Ints), Is.True);
        });
    }

    [Test]
    public void Barrier_LastRankArrives_OthersHadWaited()
    {
        using TestGroup group = TestGroup.Create(transport, 3);
        int arrived = 0;
        group.Run(end =>
        {
            for (int round = 1; round <= 50; round++)
            {
                Interlocked.Increment(ref arrived);
                end.Barrier();
                Assert.That(Volatile.Read(ref arrived), Is.GreaterThanOrEqualTo(3 * round));
                end.Barrier();
            }
        });
    }

    [Test]
    public void TakeElapsed_AfterOperations_CountsOnceAndResets()
    {
        using TestGroup group = TestGroup.Create(transport, 2);
        group.Run(end =>
        {
            end.Barrier();
            TimeSpan first = end.TakeElapsed();
            Assert.That(first, Is.GreaterThan(TimeSpan.Zero));
            Assert.That(end.TakeElapsed(), Is.EqualTo(TimeSpan.Zero));
        });
    }

    [Test]
    public void Operations_AfterWarmUp_AllocateNothing()
    {
        using TestGroup group = TestGroup.Create(transport, 2);
        int[] firsts = [0, 4, 8];
        group.Run(end =>
        {
            Sharding.LeafShare share = new(new Sharding.Leaves(1, 4), [0, 2, 4], end.Rank);
            using Matrix x = Part(firsts, 1, end.Rank), y = new(1, 8, ElementType.Int32), part = new(share.Pieces, 8), sum = new(1, 8);
            long before = 0;
            for (int i = 0; i < 200; i++)
            {
                if (i == 100)
                    before = GC.GetAllocatedBytesForCurrentThread();
                end.BeginStep(i);
                end.SumDisjoint(sum.View);
                end.SumTree(part.View, share, sum.View);
                end.AllGather(x.View, firsts, y.View);
                end.Gather(x.View, firsts, y.View);
                end.Broadcast(y.View, 0);
            }
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        });
    }

    /// <summary>A rank's columns of the matrix whose element (i, j) is i · 100003 + j.</summary>
    private static Matrix Part(int[] firsts, int rows, int rank)
    {
        int width = firsts[rank + 1] - firsts[rank];
        Matrix part = new(rows, width, ElementType.Int32);
        for (int row = 0; row < rows; row++)
            for (int column = 0; column < width; column++)
                part.Ints[row * width + column] = row * 100003 + firsts[rank] + column;
        return part;
    }

    private static void AssertWhole(Matrix whole, int rows, int columns)
    {
        for (int row = 0; row < rows; row++)
            for (int column = 0; column < columns; column++)
                if (whole.Ints[row * columns + column] != row * 100003 + column)
                    Assert.Fail($"({row}, {column}) is {whole.Ints[row * columns + column]}");
    }
}
