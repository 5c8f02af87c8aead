using System.Diagnostics;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests;

[TestFixtureSource(typeof(TestGroup), nameof(TestGroup.Transports))]
public sealed class FailureTests(string transport)
{
    private static readonly TimeSpan s_long = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan s_atOnce = TimeSpan.FromSeconds(10);

    [TestCase("operation")]
    [TestCase("shape")]
    [TestCase("step")]
    [TestCase("owners")]
    [TestCase("root")]
    [TestCase("type")]
    public void Mismatch_OneRankDiffers_EveryRankIsToldAtOnce(string difference)
    {
        using TestGroup group = TestGroup.Create(transport, 3, s_long);
        long start = Stopwatch.GetTimestamp();
        Exception?[] faults = group.RunAll(end =>
        {
            bool odd = end.Rank == 1;
            LeafShare share = new(new Leaves(1, 4), odd && difference == "owners" ? [0, 1, 3, 4] : [0, 1, 2, 4], end.Rank);
            int columns = odd && difference == "shape" ? 9 : 8;
            using Matrix part = new(share.Pieces, columns), sum = new(1, columns, odd && difference == "type" ? ElementType.Int32 : ElementType.Float32);
            end.BeginStep(odd && difference == "step" ? 4 : 3);
            if (difference is "root" or "type")
                end.Broadcast(sum.View, odd && difference == "root" ? 1 : 0);
            else if (odd && difference == "operation")
                end.Barrier();
            else
                end.SumTree(part.View, share, sum.View);
        });
        Assert.That(faults, Is.All.InstanceOf<CollectiveMismatchException>());
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(s_atOnce));
    }

    [Test]
    public void Gather_AgainstAnotherOperation_EveryRankIsToldAtTheNextOperation()
    {
        using TestGroup group = TestGroup.Create(transport, 3, s_long);
        int[] firsts = [0, 1, 2, 3];
        Exception?[] faults = group.RunAll(end =>
        {
            using Matrix x = new(1, 1), y = new(1, 3);
            if (end.Rank == 2)
                end.Barrier();
            else
                end.Gather(x.View, firsts, y.View);
            end.Barrier();
        });
        Assert.That(faults, Is.All.InstanceOf<CollectiveMismatchException>());
    }

    [Test]
    public void Timeout_OneRankNeverComes_OthersGiveUpWithinTheDeadline()
    {
        TimeSpan timeout = TimeSpan.FromMilliseconds(400);
        using TestGroup group = TestGroup.Create(transport, 3, timeout);
        long start = Stopwatch.GetTimestamp();
        Exception?[] faults = group.RunAll(end =>
        {
            if (end.Rank != 2)
                end.Barrier();
        });
        TimeSpan elapsed = Stopwatch.GetElapsedTime(start);
        Assert.That(faults[2], Is.Null);
        Assert.That(faults[..2], Is.All.InstanceOf<GroupLostException>());
        CollectiveTimeoutException first = faults.OfType<CollectiveTimeoutException>().First();
        Assert.Multiple(() =>
        {
            Assert.That(first.Operation, Is.EqualTo("Barrier"));
            Assert.That(first.MissingRank, Is.EqualTo(2));
            Assert.That(first.Rank, Is.Not.EqualTo(2));
            Assert.That(first.Sequence, Is.GreaterThan(0));
            Assert.That(first.Elapsed, Is.GreaterThanOrEqualTo(timeout));
            Assert.That(elapsed, Is.LessThan(timeout + s_atOnce));
        });
    }

    [Test]
    public void Revoke_WhileRanksWait_WakesThemAll()
    {
        using TestGroup group = TestGroup.Create(transport, 3, s_long);
        using CountdownEvent near = new(2);
        long start = Stopwatch.GetTimestamp();
        Exception?[] faults = group.RunAll(end =>
        {
            if (end.Rank == 2)
            {
                Assert.That(near.Wait(s_atOnce), Is.True);
                end.Revoke("the test says so");
            }
            else
            {
                near.Signal();
                end.Barrier();
            }
        });
        Assert.That(faults[2], Is.Null);
        for (int rank = 0; rank < 2; rank++)
        {
            Assert.That(faults[rank], Is.InstanceOf<RevokedException>());
            Assert.That(((RevokedException)faults[rank]!).Reason, Does.Contain("the test says so"));
            Assert.That(((RevokedException)faults[rank]!).Epoch, Is.EqualTo(group.Ends[rank].Epoch));
        }
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(s_atOnce));
    }

    [Test]
    public void Revoke_FromAnotherThreadOfTheWaiter_WakesIt()
    {
        using TestGroup group = TestGroup.Create(transport, 2, s_long);
        Exception?[] faults = TestGroup.OnThreads(2, thread =>
        {
            if (thread == 0)
                group.Ends[0].Barrier();
            else
                group.Ends[0].Revoke("from outside");
        });
        Assert.That(faults[0], Is.InstanceOf<RevokedException>());
    }

    [Test]
    public void Operations_AfterAFault_AreRefused()
    {
        using TestGroup group = TestGroup.Create(transport, 2, s_long);
        Exception?[] faults = group.RunAll(end =>
        {
            using Matrix x = new(1, 4 + end.Rank);
            Assert.That(() => end.Broadcast(x.View, 0), Throws.InstanceOf<CollectiveMismatchException>());
            Assert.That(end.Barrier, Throws.InstanceOf<RevokedException>());
            Assert.That(() => end.SumDisjoint(x.View), Throws.InstanceOf<RevokedException>());
            Assert.That(() => end.Gather(x.View, [0, 4, 9], Y()), Throws.InstanceOf<RevokedException>());

            Tensor Y() => new(new HostBuffer(9 * sizeof(float)), 0, 1, 9, 9, ElementType.Float32);
        });
        Assert.That(faults, Is.All.Null);
    }

    [Test]
    public void Dispose_OnePeerLeaves_OthersAreToldAtOnce()
    {
        using TestGroup group = TestGroup.Create(transport, 3, s_long);
        long start = Stopwatch.GetTimestamp();
        Exception?[] faults = group.RunAll(end =>
        {
            if (end.Rank == 1)
                end.Dispose();
            else
                end.Barrier();
        });
        Assert.That(faults[0], Is.InstanceOf<RevokedException>());
        Assert.That(faults[2], Is.InstanceOf<RevokedException>());
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(s_atOnce));
        Assert.That(group.Ends[1].Barrier, Throws.InstanceOf<ObjectDisposedException>());
    }

    [Test]
    public void Dispose_FromAnotherThreadOfTheWaiter_EndsTheOperationFirst()
    {
        using TestGroup group = TestGroup.Create(transport, 2, s_long);
        using ManualResetEventSlim near = new();
        Exception?[] faults = TestGroup.OnThreads(2, thread =>
        {
            if (thread == 0)
            {
                near.Set();
                group.Ends[0].Barrier();
            }
            else
            {
                Assert.That(near.Wait(s_atOnce), Is.True);
                group.Ends[0].Dispose();
            }
        });
        Assert.That(faults[0], Is.InstanceOf<RevokedException>().Or.InstanceOf<ObjectDisposedException>());
        Assert.That(faults[1], Is.Null);
    }

    [Test]
    public void Dispose_AfterTheLastOperation_DisturbsNobody()
    {
        for (int round = 0; round < 20; round++)
        {
            using TestGroup group = TestGroup.Create(transport, 3, s_long);
            int[] firsts = [0, 1, 2, 3];
            group.Run(end =>
            {
                using Matrix x = new(1, 1), y = new(1, 3);
                x.Floats[0] = end.Rank;
                end.SumDisjoint(y.View);
                end.Gather(x.View, firsts, y.View);
                if (end.Rank == 0)
                    Assert.That(y.Floats.ToArray(), Is.EqualTo(new float[] { 0, 1, 2 }));
                end.Dispose();
            });
        }
    }
}
