using System.Diagnostics;
using TpServe.Collectives.CudaIpc;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests.CudaIpc;

/// <summary>What a kernel that waits does when its peer does not come, is elsewhere, or the epoch ends.</summary>
public sealed class CudaIpcFailureTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan s_atOnce = TimeSpan.FromSeconds(10);

    [Test]
    public void Timeout_OneRankNeverComes_OthersGiveUpWithinTheDeadline()
    {
        TimeSpan timeout = TimeSpan.FromMilliseconds(400);
        using EmulatedIpcGroup group = new(3, timeout);
        long start = Stopwatch.GetTimestamp();
        Exception?[] faults = group.RunAll((end, _) =>
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
            Assert.That(first.Sequence, Is.EqualTo(1));
            Assert.That(first.Elapsed, Is.GreaterThanOrEqualTo(timeout));
            Assert.That(elapsed, Is.LessThan(timeout + s_atOnce));
        });

        // The rank that came too late finds the flags of this round, and the end of the epoch in the next.
        Assert.That(group.Ends[2].Barrier, Throws.Nothing);
        Assert.That(group.Ends[2].Barrier, Throws.InstanceOf<RevokedException>().With.Message.Contains("waited in vain for rank 2"));
    }

    [Test]
    public void Revoke_WhileRanksSpin_EndsThemAllAtOnce()
    {
        using EmulatedIpcGroup group = new(3, s_long);
        using CountdownEvent near = new(2);
        long start = Stopwatch.GetTimestamp();
        Exception?[] faults = group.RunAll((end, _) =>
        {
            if (end.Rank == 2)
            {
                Assert.That(near.Wait(s_atOnce), Is.True);
                end.Revoke("the test says so");
                return;
            }
            near.Signal();
            end.Barrier();
        });
        Assert.That(faults[2], Is.Null);
        Assert.That(faults[..2], Is.All.InstanceOf<RevokedException>().With.Message.Contains("rank 2"));
        Assert.That(() => group.Ends[2].ThrowIfLost(), Throws.InstanceOf<RevokedException>().With.Message.Contains("the test says so"));
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(s_atOnce));
    }

    [Test]
    public void Revoke_FromAnotherThreadOfTheSpinningRank_EndsIt()
    {
        using EmulatedIpcGroup group = new(2, s_long);
        using ManualResetEventSlim near = new();
        Exception?[] faults = TestGroup.OnThreads(2, thread =>
        {
            if (thread == 0)
            {
                near.Set();
                group.Ends[0].Barrier();
                return;
            }
            Assert.That(near.Wait(s_atOnce), Is.True);
            group.Ends[0].Revoke("from outside");
        });
        Assert.That(faults[0], Is.InstanceOf<RevokedException>().With.Message.Contains("from outside"));
        Assert.That(faults[1], Is.Null);
    }

    [TestCase("operation")]
    [TestCase("shape")]
    [TestCase("owners")]
    [TestCase("root")]
    [TestCase("type")]
    public void Mismatch_OneRankDiffers_EveryRankIsToldAtOnce(string difference)
    {
        using EmulatedIpcGroup group = new(3, s_long);
        long start = Stopwatch.GetTimestamp();
        Exception?[] faults = group.RunAll((end, ops) =>
        {
            bool odd = end.Rank == 1;
            LeafShare share = new(new Leaves(1, 4), odd && difference == "owners" ? [0, 1, 3, 4] : [0, 1, 2, 4], end.Rank);
            int columns = odd && difference == "shape" ? 9 : 8;
            using DeviceBuffer buffer = ops.Allocate(4096);
            Tensor part = new(buffer, 256, share.Pieces, columns, columns, ElementType.Float32);
            Tensor sum = new(buffer, 0, 1, columns, columns, odd && difference == "type" ? ElementType.Int32 : ElementType.Float32);
            if (difference is "root" or "type")
                end.Broadcast(sum, odd && difference == "root" ? 1 : 0);
            else if (odd && difference == "operation")
                end.Barrier();
            else
                end.SumTree(part, share, sum);
        });
        Assert.That(faults, Is.All.InstanceOf<CollectiveMismatchException>());
        Assert.That(faults.Select(fault => fault!.Message), Has.Some.Contains("is in SumTree 1").Or.Some.Contains("is in Broadcast 1").Or.Some.Contains("is in Barrier 1"));
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(s_atOnce));
        foreach (CudaIpcCommunicator end in group.Ends)
            Assert.That(() => end.BeginStep(2), Throws.InstanceOf<RevokedException>());
    }

    [Test]
    public void Dispose_OnePeerLeaves_OthersAreToldAtOnce()
    {
        using EmulatedIpcGroup group = new(3, s_long);
        long start = Stopwatch.GetTimestamp();
        Exception?[] faults = group.RunAll((end, _) =>
        {
            if (end.Rank == 1)
                end.Dispose();
            else
                end.Barrier();
        });
        Assert.That(faults[1], Is.Null);
        Assert.That(faults.Where((_, rank) => rank != 1), Is.All.InstanceOf<RevokedException>());
        Assert.That(faults.OfType<RevokedException>().Select(fault => fault.Message), Has.Some.Contains("it left the group"));
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(s_atOnce));
        Assert.That(group.Ends[1].Barrier, Throws.InstanceOf<ObjectDisposedException>());
    }

    [Test]
    public void Dispose_AfterTheLastOperation_DisturbsNobody()
    {
        for (int round = 0; round < 10; round++)
        {
            using EmulatedIpcGroup group = new(3, s_long);
            using TestGroup local = TestGroup.Create("local", 3);
            group.Run((end, ops) =>
            {
                new DeviceRank(end, ops, local.Ends[end.Rank]).Step(2, new Random(round), new Random(end.Rank), 1, 100);
                end.Dispose();
            });
        }
    }

    [Test]
    public void Dispose_FromAnotherThreadOfTheSpinningRank_EndsTheOperationFirst()
    {
        using EmulatedIpcGroup group = new(2, s_long);
        using ManualResetEventSlim near = new();
        Exception?[] faults = TestGroup.OnThreads(2, thread =>
        {
            if (thread == 0)
            {
                near.Set();
                group.Ends[0].Barrier();
                return;
            }
            Assert.That(near.Wait(s_atOnce), Is.True);
            group.Ends[0].Dispose();
        });
        Assert.That(faults[0], Is.InstanceOf<RevokedException>().Or.InstanceOf<ObjectDisposedException>());
        Assert.That(faults[1], Is.Null);
    }

    [Test]
    public void Record_OfAKernel_IsThrownByTheNextCallOnly()
    {
        // As on a GPU, where a launch returns before it ran: the kernel is launched beside the communicator, which then finds what it left.
        using EmulatedIpcGroup group = new(2, TimeSpan.FromMilliseconds(100));
        CudaIpcCommunicator end = group.Ends[0];
        IpcPathKernels paths = new(group.Backends[0].Queue);
        end.ThrowIfLost();
        paths.Ping(end.View, peer: 1, first: 1, rounds: 1);
        Assert.That(end.ThrowIfLost, Throws.InstanceOf<CollectiveTimeoutException>().With.Property(nameof(CollectiveTimeoutException.MissingRank)).EqualTo(1));
        Assert.That(end.ThrowIfLost, Throws.InstanceOf<RevokedException>());
    }

    [Test]
    public void Layout_OfWhatDevicesShare_DoesNotOverlap()
    {
        Assert.Multiple(() =>
        {
            Assert.That(IpcLayout.LeftAt + IpcLayout.MostRanks * sizeof(int), Is.LessThanOrEqualTo(IpcLayout.FlagsAt));
            Assert.That(IpcLayout.DataAt(3), Is.GreaterThanOrEqualTo(IpcLayout.FlagsAt + 3 * 2 * IpcLayout.MostRanks * sizeof(long)));
            Assert.That(IpcLayout.DataAt(3) % 256, Is.Zero);
            Assert.That(IpcLayout.ElapsedAt + sizeof(long), Is.LessThanOrEqualTo(IpcLayout.RoundsAt));
            Assert.That(IpcLayout.WaitedAt + sizeof(long), Is.LessThanOrEqualTo(IpcLayout.HostElapsedAt));
            Assert.That(IpcLayout.HostElapsedAt + sizeof(long), Is.LessThanOrEqualTo(IpcLayout.MeasuredAt));
            Assert.That(IpcLayout.MeasuredAt + sizeof(long), Is.LessThanOrEqualTo(IpcLayout.OutgoingAt));
            Assert.That(IpcLayout.OutgoingAt + sizeof(int), Is.LessThanOrEqualTo(IpcLayout.HostBytes));
            Assert.That(IpcTuning.Gpu.HalfWords % IpcSumKernel.LineElements, Is.Zero);
            Assert.That(IpcTuning.Gpu.SegmentBytes, Is.EqualTo(IpcLayout.DataAt(32) + (16 << 20)));
        });
    }
}
