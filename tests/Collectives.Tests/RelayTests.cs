using System.Diagnostics;
using TpServe.Collectives.Local;
using TpServe.Kernels;

namespace TpServe.Collectives.Tests;

/// <summary>A rank's place in one group after the other.</summary>
public sealed class RelayTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(10);

    [Test]
    public void Relay_OneGroupAfterTheOther_SumsInEach()
    {
        RelayCommunicator[] relays = [new(0, 2), new(1, 2)];
        for (long epoch = 4; epoch < 7; epoch++)
        {
            ICommunicator[] ends = LocalGroup.Create(2, s_timeout, epoch);
            Exception?[] faults = TestGroup.OnThreads(2, rank =>
            {
                relays[rank].Enter(ends[rank]);
                using HostBuffer memory = new(sizeof(float));
                Tensor x = new(memory, 0, 1, 1, 1, ElementType.Float32);
                x.HostSpan<float>(0)[0] = rank == 1 ? epoch : 0;
                relays[rank].BeginStep(1);
                relays[rank].SumDisjoint(x);
                relays[rank].Barrier(s_timeout);
                Assert.That((x.HostSpan<float>(0)[0], relays[rank].Epoch), Is.EqualTo(((float)epoch, epoch)));
            });
            Assert.That(faults, Is.All.Null);
        }
        foreach (RelayCommunicator relay in relays)
            relay.Dispose();
    }

    [Test]
    public void Relay_LeftOrNeverEntered_RefusesAndForgetsTheOldGroup()
    {
        ICommunicator[] ends = LocalGroup.Create(2, s_timeout, epoch: 3);
        using RelayCommunicator relay = new(0, 2);
        Assert.That(relay.Barrier, Throws.InstanceOf<RevokedException>());
        relay.Enter(ends[0]);
        relay.Leave();
        Assert.That(relay.Barrier, Throws.InstanceOf<RevokedException>().With.Message.Contains("epoch 3"));
        relay.Revoke("reaches nobody");
        Assert.That(ends[0].Barrier, Throws.InstanceOf<ObjectDisposedException>(), "it was the relay's to dispose");
        ends[1].Dispose();
    }

    [Test]
    public void Relay_GroupOfAnotherRank_IsRefused()
    {
        using ICommunicator other = LocalGroup.Create(2, s_timeout, epoch: 3)[1];
        using RelayCommunicator relay = new(0, 2);
        Assert.That(() => relay.Enter(other), Throws.ArgumentException);
    }

    [TestCase("local")]
    [TestCase("shm")]
    [TestCase("ring")]
    public void Observer_OneRankIsLate_IsToldWhoWaited(string transport)
    {
        using TestGroup group = TestGroup.Create(transport, 2, s_timeout);
        RelayCommunicator[] relays = [new(0, 2), new(1, 2)];
        Observed[] observed = [new(), new()];
        using ManualResetEventSlim late = new();
        Exception?[] faults = group.RunAll(end =>
        {
            RelayCommunicator relay = relays[end.Rank];
            relay.Enter(end);
            using HostBuffer memory = new(sizeof(float) * 3);
            Tensor x = new(memory, 0, 1, 3, 3, ElementType.Float32);
            relay.SumDisjoint(x);
            relay.Observer = observed[end.Rank];
            if (end.Rank == 1)
                late.Wait(TimeSpan.FromMilliseconds(200)); // nobody sets it
            relay.SumDisjoint(x);
            relay.Observer = null;
            relay.SumDisjoint(x);
        });
        Assert.That(faults, Is.All.Null);
        Assert.That(observed.Select(own => own.Operations), Is.All.EqualTo(new[] { "sum of disjoint rows 1 x 3" }));
        Assert.That(observed[0].Waited, Is.InRange(TimeSpan.FromMilliseconds(100), observed[0].Took), "rank 0 waits for rank 1");
        Assert.That(observed[1].Waited, Is.LessThan(TimeSpan.FromMilliseconds(100)));
    }

    [TestCase("local", 0)]
    [TestCase("shm", 0)]
    [TestCase("ring", 64)] // the head of a frame
    public void Meter_OperationsOfTwoPurposes_CountsCallsBytesAndTimeOfEach(string transport, int head)
    {
        using TestGroup group = TestGroup.Create(transport, 2, s_timeout);
        group.Run(end =>
        {
            using RelayCommunicator relay = new(end.Rank, 2);
            relay.Enter(end);
            using HostBuffer memory = new(sizeof(float) * 24);
            Tensor x = new(memory, 0, 1, 3, 3, ElementType.Float32), all = new(memory, 12, 1, 6, 6, ElementType.Float32);
            relay.TakeElapsed();
            relay.For(CollectivePurpose.Embedding);
            relay.SumDisjoint(x);
            relay.SumDisjoint(x);
            relay.For(CollectivePurpose.Candidates);
            relay.Gather(x, [0, 3, 6], end.Rank == 0 ? all : default);
            relay.For(CollectivePurpose.Choices);
            relay.Broadcast(x, root: 0);
            relay.Barrier();
            Assert.Multiple(() =>
            {
                Assert.That(Counted(CollectivePurpose.Embedding), Is.EqualTo((2L, 2L * (12 + head))));
                Assert.That(Counted(CollectivePurpose.Candidates), Is.EqualTo((1L, end.Rank == 0 ? 0L : 12 + head)), "only rank 0 reads");
                Assert.That(Counted(CollectivePurpose.Choices), Is.EqualTo((1L, head + (end.Rank == 0 ? 12L : 0))), "only the root has something to say");
                Assert.That(Counted(CollectivePurpose.Logits), Is.EqualTo((0L, 0L)));
                TimeSpan counted = TimeSpan.FromTicks(relay.Meter.Counts.ToArray().Sum(count => count.Elapsed.Ticks));
                Assert.That(relay.TakeElapsed(), Is.GreaterThanOrEqualTo(counted).And.GreaterThan(TimeSpan.Zero), "the barrier is time, and nothing that is counted");
            });
            relay.Meter.Clear();
            Assert.That(relay.Meter[CollectivePurpose.Embedding].Calls, Is.Zero);

            (long, long) Counted(CollectivePurpose purpose) => (relay.Meter[purpose].Calls, relay.Meter[purpose].Sent.Bytes);
        });
    }

    private sealed class Observed : IOperationObserver
    {
        public List<string> Operations { get; } = [];

        public TimeSpan Waited { get; private set; }

        public TimeSpan Took { get; private set; }

        public void Ran(string operation, int rows, int columns, long start, long end, TimeSpan waited)
        {
            Operations.Add($"{operation} {rows} x {columns}");
            (Waited, Took) = (waited, Stopwatch.GetElapsedTime(start, end));
        }
    }

    [TestCase("local")]
    [TestCase("shm")]
    [TestCase("ring")]
    public void Barrier_WithPatience_OutlivesTheGroupsTimeout(string transport)
    {
        using TestGroup group = TestGroup.Create(transport, 2, TimeSpan.FromMilliseconds(300));
        using ManualResetEventSlim late = new();
        Exception?[] faults = group.RunAll(end =>
        {
            if (end.Rank == 1)
                late.Wait(TimeSpan.FromMilliseconds(900)); // nobody sets it
            end.Barrier(s_timeout);
        });
        Assert.That(faults, Is.All.Null);
    }
}
