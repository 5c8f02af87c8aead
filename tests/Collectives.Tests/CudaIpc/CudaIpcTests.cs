using TpServe.Collectives.CudaIpc;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests.CudaIpc;

/// <summary>The kernels of the cuda-ipc transport on emulated devices, against a local group.</summary>
public sealed class CudaIpcTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    [TestCase(2)]
    [TestCase(3)]
    public void Operations_RandomSequence_HaveTheBitsOfALocalGroup(int degree)
    {
        using EmulatedIpcGroup group = new(degree, s_timeout);
        using TestGroup local = TestGroup.Create("local", degree);
        group.Run((end, ops) =>
        {
            DeviceRank rank = new(end, ops, local.Ends[end.Rank]);
            Random agreed = new(degree), own = new(end.Rank);
            for (int i = 0; i < 50; i++)
            {
                end.BeginStep(i / 10);
                rank.Step(agreed.Next(DeviceRank.Operations), agreed, own, rows: agreed.Next(4), columns: agreed.Next(1, 200));
            }
            end.ThrowIfLost();
            end.Barrier();
        });
    }

    [TestCase(2, 9, new[] { 0, 5, 9 })]
    [TestCase(3, 9, new[] { 0, 9, 9, 9 })]         // all on the first rank
    [TestCase(3, 9, new[] { 0, 0, 0, 9 })]         // all on the last rank
    [TestCase(4, 1, new[] { 0, 0, 1, 1, 1 })]      // one leaf
    [TestCase(3, 32, new[] { 0, 1, 15, 32 })]      // many pieces
    public void SumTree_BothWaysAndAnySize_HasTheBitsOfOneRank(int degree, int leaves, int[] boundaries)
    {
        // Every sum of the small tuning that takes more than one round or goes the two-shot way is in here; so is one that is not aligned.
        using EmulatedIpcGroup group = new(degree, s_timeout);
        using TestGroup local = TestGroup.Create("local", degree);
        group.Run((end, ops) =>
        {
            DeviceRank rank = new(end, ops, local.Ends[end.Rank]);
            LeafShare share = new(new Leaves(1, leaves), boundaries, end.Rank);
            foreach (int columns in (int[])[1, 3, 16, 100, 577, 1024])
                rank.SumTree(share, new Random(end.Rank), rows: 1, columns);
            rank.SumTree(share, new Random(end.Rank), rows: 0, columns: 5);
            rank.SumTree(share, new Random(end.Rank), rows: 3, columns: 64);
        });
    }

    [Test]
    public void SumTree_RankOrderInstead_DiffersFromTheTree()
    {
        // Negative control: the sums of these tests do depend on their order.
        float[][] leaves = LeafSums.Random(9, 576, seed: 3);
        Assert.That(LeafSums.RankOrder(leaves, [0, 5, 9]), Is.Not.EqualTo(LeafSums.Whole(leaves, 0, 9)));
    }

    [Test]
    public void SumTree_MorePartialSumsThanTheKernelHolds_IsRefusedAndLeavesTheGroupAlive()
    {
        using EmulatedIpcGroup group = new(2, s_timeout);
        group.Run((end, ops) =>
        {
            using Kernels.DeviceBuffer buffer = ops.Allocate(4096);
            Kernels.Tensor y = new(buffer, 0, 1, 1, 1, Kernels.ElementType.Float32);
            LeafShare share = new(new Leaves(1, 2048), [0, 1365, 2048], end.Rank);
            Kernels.Tensor pieces = new(buffer, 4, share.Pieces, 1, 1, Kernels.ElementType.Float32);
            if (share.Pieces > 0 && SumSchedule.Of(share).Depth > IpcSumKernel.MostDepth)
                Assert.That(() => end.SumTree(pieces, share, y), Throws.ArgumentException);
            end.Barrier();
        });
    }

    [Test]
    public void Rounds_BeforeAndAfterTheyWrap_StillFindEachOther()
    {
        using EmulatedIpcGroup group = new(2, s_timeout);
        using TestGroup local = TestGroup.Create("local", 2);
        foreach (IIpcMemory memory in group.Memories)
            EmulatedIpcGroup.SetRound(memory, channel: 0, int.MaxValue - 5);
        group.Run((end, ops) =>
        {
            DeviceRank rank = new(end, ops, local.Ends[end.Rank]);
            for (int i = 0; i < 12; i++)
                rank.Step(1, new Random(i), new Random(end.Rank + i), rows: 1, columns: 40);
            Assert.That(EmulatedIpcGroup.Round(group.Memories[end.Rank], channel: 0), Is.Negative, "the rounds did not wrap");
        });
        foreach (IIpcMemory memory in group.Memories)
            EmulatedIpcGroup.SetRound(memory, channel: 0, -4);
        group.Run((end, ops) =>
        {
            DeviceRank rank = new(end, ops, local.Ends[end.Rank]);
            for (int i = 0; i < 8; i++)
                rank.Step(1, new Random(i), new Random(end.Rank + i), rows: 1, columns: 40);
        });
    }

    [Test]
    public void Operations_AreOneLaunchEach()
    {
        using EmulatedIpcGroup group = new(2, s_timeout);
        group.Run((end, ops) =>
        {
            using Kernels.DeviceBuffer buffer = ops.Allocate(4000);
            Kernels.Tensor x = new(buffer, 0, 1, 1000, 1000, Kernels.ElementType.Float32);
            long before = ops.Launches;
            end.SumDisjoint(x);
            end.Broadcast(x, 1);
            end.Barrier();
            Assert.That(ops.Launches - before, Is.EqualTo(3));
            Assert.That(end.TakeElapsed(), Is.GreaterThan(TimeSpan.Zero));
            Assert.That(end.TakeElapsed(), Is.EqualTo(TimeSpan.Zero));
        });
    }

    [TestCase(2)]
    [TestCase(3)]
    public void Prove_EveryRank_TimesEveryPeersPath(int degree)
    {
        using EmulatedIpcGroup group = new(degree, s_timeout);
        group.Run((end, ops) =>
        {
            PeerPath[] paths = IpcProof.Prove(end, ops, group.Memories[end.Rank]);
            Assert.That(paths.Select(path => path.Peer), Is.EqualTo(Enumerable.Range(0, degree).Where(rank => rank != end.Rank)));
            Assert.That(paths.Select(path => path.RoundTripMicroseconds), Is.All.GreaterThan(0));
            Assert.That(paths.Select(path => path.BytesPerSecond), Is.All.GreaterThan(0));
            Assert.That(end.Report.AllReduceMicroseconds, Is.GreaterThan(0));
            end.Barrier();
        });
    }

    [Test]
    public void Prove_SegmentThatDoesNotHoldWhatWasWritten_IsRefused()
    {
        // Rank 1 sees a copy of rank 0's segment instead of the segment, as a path would that does not reach the other GPU's memory.
        using EmulatedIpcGroup group = new(2, TimeSpan.FromMilliseconds(300), apart: true);
        Exception?[] faults = group.RunAll((end, ops) => IpcProof.Prove(end, ops, group.Memories[end.Rank]));
        Assert.That(faults, Is.All.InstanceOf<GroupLostException>());
    }

    [Test]
    public void Retire_AnotherBackendOfTheDevice_GoesOnOverTheSameMemory()
    {
        using EmulatedIpcGroup group = new(2, s_timeout);
        using TestGroup local = TestGroup.Create("local", 2);
        group.Run((end, ops) =>
        {
            end.Barrier();
            using CudaBackend other = ops.With(CudaActivations.Float32);
            end.Retire();
            using CudaIpcCommunicator next = new(other, group.Memories[end.Rank], end.Rank, 2, s_timeout, end.Epoch);
            DeviceRank rank = new(next, other, local.Ends[end.Rank]);
            for (int i = 0; i < 6; i++)
                rank.Step(i, new Random(i), new Random(end.Rank), rows: 2, columns: 50);
            Assert.That(end.Barrier, Throws.InstanceOf<ObjectDisposedException>());
        });
    }

    [Test]
    public void Open_OnAnEmulatedDevice_SaysWhyNot()
    {
        using CudaBackend ops = new(CudaContext.Emulated());
        Assert.That(() => CudaIpcEndpoint.Open(ops, 0, 2, 1), Throws.InstanceOf<TransportFailedException>().With.Message.Contains("emulated"));
    }
}
