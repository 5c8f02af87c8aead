using TpServe.Collectives.Local;
using TpServe.Collectives.Staged;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Reference;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests;

/// <summary>Tensors of a device over transports of the host.</summary>
public sealed class StagedTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    [TestCase(1, "local")]
    [TestCase(2, "local")]
    [TestCase(3, "shm-small")]
    [TestCase(2, "ring")]
    public void Operations_RandomSequenceOnAnEmulatedDevice_HaveTheBitsOfALocalGroup(int degree, string transport)
    {
        using TestGroup inner = TestGroup.Create(transport, degree), local = TestGroup.Create("local", degree);
        inner.Run(end =>
        {
            using CudaBackend ops = new(CudaContext.Emulated());
            StagedCommunicator staged = new(end, ops); // the group disposes what it wraps
            DeviceRank rank = new(staged, ops, local.Ends[end.Rank]);
            Random agreed = new(degree), own = new(end.Rank);
            for (int i = 0; i < 40; i++)
            {
                staged.BeginStep(i / 8);
                rank.Step(agreed.Next(DeviceRank.Operations), agreed, own, rows: agreed.Next(4), columns: agreed.Next(1, 2000));
            }
        });
    }

    [Test]
    public void Operations_LargerThanTheFirstStaging_GrowIt()
    {
        using TestGroup inner = TestGroup.Create("local", 2), local = TestGroup.Create("local", 2);
        inner.Run(end =>
        {
            using ReferenceBackend ops = new();
            using StagedCommunicator staged = new(end, ops);
            DeviceRank rank = new(staged, ops, local.Ends[end.Rank]);
            for (int columns = 1; columns < 1_000_000; columns *= 9)
                rank.SumTree(new LeafShare(new Leaves(1, 5), [0, 2, 5], end.Rank), new Random(end.Rank), 1, columns);
        });
    }

    [Test]
    public void Operations_AfterWarmUp_AllocateNothing()
    {
        using TestGroup inner = TestGroup.Create("local", 2);
        int[] firsts = [0, 4, 8];
        inner.Run(end =>
        {
            using ReferenceBackend ops = new();
            using StagedCommunicator staged = new(end, ops);
            LeafShare share = new(new Leaves(1, 4), [0, 2, 4], end.Rank);
            using Matrix x = new(1, 4, ElementType.Int32), y = new(1, 8, ElementType.Int32), part = new(share.Pieces, 8), sum = new(1, 8);
            long before = 0;
            for (int i = 0; i < 200; i++)
            {
                if (i == 100)
                    before = GC.GetAllocatedBytesForCurrentThread();
                staged.BeginStep(i);
                staged.SumDisjoint(sum.View);
                staged.SumTree(part.View, share, sum.View);
                staged.AllGather(x.View, firsts, y.View);
                staged.Gather(x.View, firsts, y.View);
                staged.Broadcast(y.View, 0);
            }
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        });
    }

    [Test]
    public void IsEnqueued_OverAHostTransport_IsFalse()
    {
        using ReferenceBackend ops = new();
        using StagedCommunicator staged = new(LocalGroup.Create(1, s_timeout, 1)[0], ops);
        using SingleRank single = new(1, ops);
        Assert.Multiple(() =>
        {
            Assert.That(staged.IsEnqueued, Is.False);
            Assert.That(single.IsEnqueued, Is.True);
        });
    }

    [Test]
    public void SingleRank_AnyOperation_HasTheBitsOfALocalGroup()
    {
        using ReferenceBackend ops = new();
        using SingleRank single = new(1, ops);
        using TestGroup local = TestGroup.Create("local", 1);
        DeviceRank rank = new(single, ops, local.Ends[0]);
        for (int operation = 0; operation < DeviceRank.Operations; operation++)
            for (int rows = 0; rows < 3; rows++)
                rank.Step(operation, new Random(operation), new Random(rows), rows, columns: 33);
    }

    [Test]
    public void SumTree_WrongShare_IsRefusedAndLeavesTheGroupAlive()
    {
        using TestGroup inner = TestGroup.Create("local", 2);
        inner.Run(end =>
        {
            using ReferenceBackend ops = new();
            using StagedCommunicator staged = new(end, ops);
            using Matrix part = new(1, 8), whole = new(1, 8);
            LeafShare another = new(new Leaves(1, 2), [0, 1, 2], 1 - end.Rank);
            Assert.That(() => staged.SumTree(part.View, another, whole.View), Throws.ArgumentException);
            staged.Barrier();
        });
    }
}
