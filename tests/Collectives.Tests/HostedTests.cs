using System.Diagnostics;
using TpServe.Collectives.Hosted;
using TpServe.Collectives.Ring;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests;

/// <summary>Groups of several hosts: the same bits whoever adds, and fewer bytes between them.</summary>
public sealed class HostedTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan s_atOnce = TimeSpan.FromSeconds(10);

    [TestCase(new[] { 0, 0 })]
    [TestCase(new[] { 0, 1 })]
    [TestCase(new[] { 0, 0, 0 })]
    [TestCase(new[] { 0, 0, 1 })]
    [TestCase(new[] { 0, 1, 1 })]
    [TestCase(new[] { 0, 1, 0 })]       // one host scattered
    [TestCase(new[] { 0, 0, 1, 1 })]
    [TestCase(new[] { 0, 0, 0, 1 })]
    [TestCase(new[] { 0, 1, 0, 1 })]
    [TestCase(new[] { 3, 3, 7, 7 })]    // numbers are names
    [TestCase(new[] { 0, 0, 1, 1, 2 })]
    [TestCase(new[] { 0, 1, 1, 1, 1 })]
    public void SumTree_AnyHostsAndShares_HasTheBitsOfOneRank(int[] hosts)
    {
        Random random = new(hosts.Length);
        using TestGroup group = Create(hosts);
        for (int round = 0; round < 25; round++)
        {
            int leaves = random.Next(1, 33), rows = random.Next(1, 4), columns = random.Next(1, 400);
            int[] boundaries = LeafSums.Boundaries(leaves, hosts.Length, random);
            float[][] values = LeafSums.Random(leaves, rows * columns, round);
            float[] expected = LeafSums.Whole(values, 0, leaves);
            group.Run(end =>
            {
                LeafShare share = new(new Leaves(1, leaves), boundaries, end.Rank);
                using Matrix pieces = new(share.Pieces * rows, columns, LeafSums.Pieces(values, share)), y = new(rows, columns);
                end.SumTree(pieces.View, share, y.View);
                Assert.That(y.Floats.SequenceEqual(expected), Is.True, $"rank {end.Rank}, {leaves} leaves at {string.Join(' ', boundaries)}, {rows} x {columns}");
            });
        }
    }

    [Test]
    public void Sums_TwoLevels_AddEveryMergeOnceAndCrossInMaximalSubtrees([Range(0, 49)] int seed)
    {
        Random random = new(seed);
        int degree = random.Next(2, 9), leaves = random.Next(1, 64);
        int[] hosts = [.. Enumerable.Range(0, degree).Select(_ => random.Next(3)).Order()];
        int[] boundaries = LeafSums.Boundaries(leaves, degree, random);
        for (int rank = 0; rank < degree; rank++)
        {
            LeafShare share = new(new Leaves(1, leaves), boundaries, rank);
            HostRuns runs = new(hosts, rank);
            HostedSums sums = new(share, runs);
            int[] ofHosts = [.. runs.Leaders.Select(leader => boundaries[leader]), leaves];
            LeafShare asOne = new(new Leaves(1, leaves), ofHosts, runs.Mine);
            Assert.Multiple(() =>
            {
                Assert.That(sums.Across.PiecesOfRank, Is.EqualTo(asOne.PiecesOfRank), "as many subtrees as if the run were one rank");
                Assert.That(sums.Across.Merges, Is.EqualTo(asOne.FinishingMerges));
                Assert.That(sums.Mine, Has.Count.EqualTo(asOne.Pieces));
                Assert.That(sums.Mine.Sum(subtree => subtree.Pieces), Is.EqualTo(share.Pieces));
            });
        }
    }

    [Test]
    public void BytesAcross_TwoHostsOfTwoRanks_AreFewerThanFlat()
    {
        int[] hosts = [0, 0, 1, 1];
        const int rows = 3, columns = 576, leaves = 32;
        using RingHosts others = new(4);
        using TestGroup hosted = Create(hosts), flat = TestGroup.Join(4, rank => others.Join(rank, 4, s_timeout, epoch: 1, hosts: hosts));
        long before = Hosted(), flatBefore = Flat();
        foreach (TestGroup group in new[] { hosted, flat })
            group.Run(end => Sum(end, [0, 7, 16, 20, 32], leaves, rows, columns));
        long across = Hosted() - before, flatAcross = Flat() - flatBefore;
        TestContext.Out.WriteLine($"{across} bytes between hosts, {flatAcross} flat");

        // Each run is one subtree of half the leaves: one frame of one piece each way. Flat, each rank sends its own pieces, 3, 2, 1 and 2, to both ranks over there.
        Assert.That(across, Is.EqualTo(2 * (RingFrame.HeadBytes + rows * columns * sizeof(float))));
        Assert.That(flatAcross, Is.GreaterThanOrEqualTo(4 * across));

        long Hosted() => hosted.Ends.Sum(end => end.Sent.AcrossBytes);
        long Flat() => flat.Ends.Sum(end => end.Sent.AcrossBytes);
    }

    [Test]
    public void Revoke_ByARankThatLeadsNone_ReachesWaitersOnEveryHostAtOnce()
    {
        using TestGroup group = Create([0, 0, 1, 1]);
        long start = Stopwatch.GetTimestamp();
        Exception?[] faults = group.RunAll(end =>
        {
            if (end.Rank == 3)
                end.Revoke("the test says so");
            else
                end.Barrier();
        });
        Assert.That(faults[..3], Is.All.InstanceOf<RevokedException>().With.Property(nameof(RevokedException.Reason)).Contains("the test says so"));
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(s_atOnce));
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void Timeout_AnyRankNeverComes_ItIsNamedByItsRankInTheGroup(int missing)
    {
        using TestGroup group = Create([0, 0, 1, 1], TimeSpan.FromMilliseconds(300));
        Exception?[] faults = group.RunAll(end =>
        {
            if (end.Rank != missing)
                end.Barrier();
        });
        Assert.That(faults[missing], Is.Null);
        Assert.That(faults.Where((_, rank) => rank != missing), Is.All.InstanceOf<GroupLostException>());
        int leader = missing / 2 * 2; // whom the other host waits for
        Assert.That(faults.OfType<CollectiveTimeoutException>().Any(fault => fault.MissingRank == missing || fault.MissingRank == leader), Is.True);
    }

    [Test]
    public void Join_Done_ReportsBothTransportsAndATime()
    {
        using TestGroup group = Create([0, 0, 1]);
        Assert.That(group.Ends.Select(end => end.Report.Transport), Is.All.EqualTo("shm+ring"));
        Assert.That(group.Ends.Select(end => end.Report.AllReduceMicroseconds), Is.All.GreaterThan(0));
    }

    [Test]
    public void Operations_AfterTheFirst_AllocateNothing()
    {
        using TestGroup group = Create([0, 0, 1, 1]);
        group.Run(end =>
        {
            LeafShare share = new(new Leaves(1, 8), [0, 1, 4, 5, 8], end.Rank);
            int[] firsts = [0, 1, 2, 3, 4];
            using Matrix pieces = new(share.Pieces * 2, 100), y = new(2, 100), x = new(2, 1), all = new(2, 4);
            for (int i = 0; i < 20; i++)
                Operations();
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 20; i++)
                Operations();
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);

            void Operations()
            {
                end.SumTree(pieces.View, share, y.View);
                end.AllGather(x.View, firsts, all.View);
                end.Broadcast(y.View, 3);
                end.SumDisjoint(x.View);
            }
        });
    }

    private static TestGroup Create(int[] hosts) => Create(hosts, s_timeout);

    private static TestGroup Create(int[] hosts, TimeSpan timeout)
    {
        long epoch = RingHosts.NextEpoch();
        string prefix = TestGroup.UniquePrefix();
        return TestGroup.Join(hosts.Length, rank => RingHosts.Shared.JoinHosted(hosts, prefix, rank, timeout, epoch, s_timeout));
    }

    private static void Sum(ICommunicator end, int[] boundaries, int leaves, int rows, int columns)
    {
        LeafShare share = new(new Leaves(1, leaves), boundaries, end.Rank);
        using Matrix pieces = new(share.Pieces * rows, columns), y = new(rows, columns);
        end.SumTree(pieces.View, share, y.View);
    }
}
