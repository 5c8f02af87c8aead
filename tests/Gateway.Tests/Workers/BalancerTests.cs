using NUnit.Framework;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>A group whose second worker has become slow: what is said of it, when the group moves, and what it goes back to where it cannot.</summary>
public sealed class BalancerTests
{
    private long _step;

    [Test]
    public async Task Slow_On_WantsAPauseAndComesBackWithAnotherSplit()
    {
        await using GroupFixture fixture = new(rebalance: Rebalance.On);
        GroupLife life = await fixture.ReadyAsync();
        Assert.That((fixture.Group.WantsMove, fixture.Group.Moves), Is.EqualTo((MoveWish.None, 0L)));
        await ServeUntilAsync(fixture, life, () => fixture.Group.WantsMove == MoveWish.WhenIdle);
        GroupMove advice = fixture.Group.Topology().Advice;
        Assert.That((advice.Rank, advice.Reason, advice.Epoch), Is.EqualTo((1, "rank 1 computes 2.00 times as long as the others", 0L)));

        Assert.That(await fixture.Group.MoveAsync(usedBlocks: 0, TimeSpan.Zero), Is.True);
        GroupLife next = await fixture.ReadyAsync();
        Assert.That(next.Epoch, Is.EqualTo(life.Epoch + 1));
        LoadRequest before = fixture.Workers[1].Loads[0], after = fixture.Workers[1].Loads[1];
        Assert.That((before.HeadBoundaries, before.LeafBoundaries[1]), Is.EqualTo((new[] { 0, 5, 9 }, 12)));
        Assert.That(after.LeafBoundaries[1], Is.GreaterThan(14));
        Assert.That(fixture.Workers.Opened, Has.Count.EqualTo(2), "nobody was started anew");
        GetTopologyResponse topology = fixture.Group.Topology();
        GroupMove move = topology.Moves.Single();
        Assert.That((move.Rank, move.Epoch, move.Before, topology.Advice, fixture.Group.Moves), Is.EqualTo((1, next.Epoch, "heads 5+4, MLP leaves 12+12, vocabulary 24576+24576", (GroupMove?)null, 1L)));
        Assert.That(topology.Ranks[0].MlpLeaves.End, Is.EqualTo(after.LeafBoundaries[1]));
        Assert.That(fixture.Observer.Losses, Is.Empty);

        // A worker that dies later comes back to the split that was moved to.
        fixture.Workers[1].Kill();
        await fixture.AdvanceUntilAsync(() => fixture.Workers.Opened.Count == 3 && fixture.Group.State == GroupState.Ready, TimeSpan.FromSeconds(20));
        GroupLife third = await fixture.ReadyAsync();
        Assert.That((third.Epoch, fixture.Workers[1].Loads.Single().LeafBoundaries[1]), Is.EqualTo((next.Epoch + 1, after.LeafBoundaries[1])));
    }

    [Test]
    public async Task Slow_NoIdlePointInAMinute_WantsThePauseNow()
    {
        await using GroupFixture fixture = new(rebalance: Rebalance.On);
        GroupLife life = await fixture.ReadyAsync();
        await ServeUntilAsync(fixture, life, () => fixture.Group.WantsMove == MoveWish.WhenIdle);
        DateTimeOffset since = fixture.Time.GetUtcNow();
        await ServeUntilAsync(fixture, life, () => fixture.Group.WantsMove == MoveWish.Now);
        Assert.That((fixture.Time.GetUtcNow() - since).TotalSeconds, Is.InRange(58, 62));
    }

    [Test]
    public async Task Slow_Advise_SaysSoAndStays()
    {
        await using GroupFixture fixture = new(rebalance: Rebalance.Advise);
        GroupLife life = await fixture.ReadyAsync();
        await ServeUntilAsync(fixture, life, () => fixture.Group.Topology().Advice is not null);
        Assert.That(fixture.Group.WantsMove, Is.EqualTo(MoveWish.None));
        Assert.That(await fixture.Group.MoveAsync(usedBlocks: 0, TimeSpan.Zero), Is.False);
        Assert.That((await fixture.ReadyAsync()).Epoch, Is.EqualTo(life.Epoch));
    }

    [TestCase(1_000_000, 0)]
    [TestCase(0, 1000)]
    public async Task Move_NoRoomOrNotWorthTheRecomputing_IsRefusedAndTheEpochGoesOn(int usedBlocks, int recomputeSeconds)
    {
        await using GroupFixture fixture = new(rebalance: Rebalance.On);
        GroupLife life = await fixture.ReadyAsync();
        await ServeUntilAsync(fixture, life, () => fixture.Group.WantsMove == MoveWish.WhenIdle);
        Assert.That(await fixture.Group.MoveAsync(usedBlocks, TimeSpan.FromSeconds(recomputeSeconds)), Is.False);
        Assert.That((fixture.Group.WantsMove, (await fixture.ReadyAsync()).Epoch), Is.EqualTo((MoveWish.None, life.Epoch)));
        await ServeUntilAsync(fixture, life, () => fixture.Group.WantsMove == MoveWish.WhenIdle);
    }

    [Test]
    public async Task Slow_TheNewSplitHoldsShorterContexts_IsNotWanted()
    {
        await using GroupFixture fixture = new(rebalance: Rebalance.On, replan: split => GroupFixture.Plan(2, split, maxModelLen: 64));
        GroupLife life = await fixture.ReadyAsync();
        int looks = 0;
        await ServeUntilAsync(fixture, life, () => ++looks > 60);
        Assert.That((fixture.Group.WantsMove, fixture.Group.Topology().Advice), Is.EqualTo((MoveWish.None, (GroupMove?)null)));
    }

    [Test]
    public async Task Move_WhoseLoadFails_GoesBackToTheSplitBefore()
    {
        await using GroupFixture fixture = new(rebalance: Rebalance.On);
        GroupLife life = await fixture.ReadyAsync();
        await ServeUntilAsync(fixture, life, () => fixture.Group.WantsMove == MoveWish.WhenIdle);
        fixture.Workers.OnLoad = (_, request) => request.LeafBoundaries[1] == 12 ? Task.CompletedTask : throw new WorkerStartException("no memory for it.");
        Assert.That(await fixture.Group.MoveAsync(usedBlocks: 0, TimeSpan.Zero), Is.True);
        await fixture.AdvanceUntilAsync(() => fixture.Group.State == GroupState.Ready, TimeSpan.FromSeconds(20));
        Assert.That((fixture.Workers[1].Loads[^1].LeafBoundaries[1], fixture.Group.Moves, fixture.Group.Topology().Moves.Count), Is.EqualTo((12, 0L, 0)));
    }

    [TestCase(MoveWish.Now)]
    [TestCase(MoveWish.WhenIdle)]
    public async Task Reshard_AnotherSplit_IsMovedToWhateverItBringsAndAnswered(MoveWish when)
    {
        await using GroupFixture fixture = new(rebalance: Rebalance.Off);
        GroupLife life = await fixture.ReadyAsync();
        Task<GroupMove?> asked = fixture.Group.ReshardAsync([2, 1], when, CancellationToken.None);
        Assert.That((fixture.Group.WantsMove, asked.IsCompleted), Is.EqualTo((when, false)));
        RequestRejectedException second = (await Assert.ThrowsAsync<RequestRejectedException>(() => fixture.Group.ReshardAsync([1, 2], when, CancellationToken.None)))!;
        Assert.That(second.Reason, Is.EqualTo("MOVE_UNDER_WAY"));

        Assert.That(await fixture.Group.MoveAsync(usedBlocks: 1, TimeSpan.FromHours(1)), Is.True, "what it costs was for the operator to weigh");
        GroupLife next = await fixture.ReadyAsync();
        GroupMove move = (await asked)!;
        Assert.That((move.Rank, move.Reason, move.Epoch, move.Before, move.After), Is.EqualTo((-1, "asked for", next.Epoch,
            "heads 5+4, MLP leaves 12+12, vocabulary 24576+24576", "heads 6+3, MLP leaves 16+8, vocabulary 32768+16384")));
        Assert.That((fixture.Workers[1].Loads[^1].LeafBoundaries[1], next.Epoch, fixture.Group.WantsMove), Is.EqualTo((16, life.Epoch + 1, MoveWish.None)));

        Assert.That(await fixture.Group.ReshardAsync([4, 2], when, CancellationToken.None), Is.Null, "it has that split");
        Task<GroupMove?> back = fixture.Group.ReshardAsync([], when, CancellationToken.None);
        Assert.That(await fixture.Group.MoveAsync(usedBlocks: 0, TimeSpan.Zero), Is.True);
        Assert.That((await back)!.After, Is.EqualTo(move.Before));
    }

    [TestCase(new[] { 1.0 }, "1 numbers")]
    [TestCase(new[] { 1.0, 2.0, 3.0 }, "3 numbers")]
    [TestCase(new[] { 1.0, 0.0 }, "0")]
    [TestCase(new[] { 1.0, double.NaN }, "NaN")]
    [TestCase(new[] { double.PositiveInfinity, 1.0 }, "Infinity")]
    public async Task Reshard_WeightsThatFitNoSplit_AreRefusedByName(double[] weights, string value)
    {
        await using GroupFixture fixture = new();
        await fixture.ReadyAsync();
        RequestRejectedException fault = (await Assert.ThrowsAsync<RequestRejectedException>(() => fixture.Group.ReshardAsync(weights, MoveWish.Now, CancellationToken.None)))!;
        Assert.That((fault.Reason, fault.Field, fault.Value), Is.EqualTo(("OUT_OF_RANGE", "weights", value)));
        Assert.That(fixture.Group.WantsMove, Is.EqualTo(MoveWish.None));
    }

    [Test]
    public async Task Reshard_NoRoomForWhatRuns_IsAnsweredAndTheEpochGoesOn()
    {
        await using GroupFixture fixture = new();
        GroupLife life = await fixture.ReadyAsync();
        Task<GroupMove?> asked = fixture.Group.ReshardAsync([2, 1], MoveWish.Now, CancellationToken.None);
        Assert.That(await fixture.Group.MoveAsync(usedBlocks: 100_000_000, TimeSpan.Zero), Is.False);
        Assert.That((await Assert.ThrowsAsync<RequestRejectedException>(() => asked))!.Reason, Is.EqualTo("NO_ROOM"));
        Assert.That((fixture.Group.WantsMove, (await fixture.ReadyAsync()).Epoch), Is.EqualTo((MoveWish.None, life.Epoch)));
    }

    [Test]
    public async Task Reshard_GivenUpOrLongWithoutAMoment_IsWantedNoMore()
    {
        await using GroupFixture fixture = new();
        await fixture.ReadyAsync();
        using CancellationTokenSource call = new();
        Task<GroupMove?> asked = fixture.Group.ReshardAsync([2, 1], MoveWish.WhenIdle, call.Token);
        await call.CancelAsync();
        await Assert.ThrowsAsync<TaskCanceledException>(() => asked);
        Assert.That(fixture.Group.WantsMove, Is.EqualTo(MoveWish.None));

        Task<GroupMove?> patient = fixture.Group.ReshardAsync([2, 1], MoveWish.WhenIdle, CancellationToken.None);
        fixture.Time.Advance(TimeSpan.FromMinutes(11));
        Assert.That((await Assert.ThrowsAsync<RequestRejectedException>(() => patient))!.Reason, Is.EqualTo("NO_MOMENT"));
        Assert.That(fixture.Group.WantsMove, Is.EqualTo(MoveWish.None));
    }

    [Test]
    public async Task Reshard_WhoseLoadFails_IsAnsweredAndTheSplitBeforeServesAgain()
    {
        await using GroupFixture fixture = new();
        await fixture.ReadyAsync();
        fixture.Workers.OnLoad = (_, request) => request.LeafBoundaries[1] == 12 ? Task.CompletedTask : throw new WorkerStartException("no memory for it.");
        Task<GroupMove?> asked = fixture.Group.ReshardAsync([2, 1], MoveWish.Now, CancellationToken.None);
        Assert.That(await fixture.Group.MoveAsync(usedBlocks: 0, TimeSpan.Zero), Is.True);
        await fixture.AdvanceUntilAsync(() => fixture.Group.State == GroupState.Ready, TimeSpan.FromSeconds(20));
        Assert.That((await Assert.ThrowsAsync<RequestRejectedException>(() => asked))!.Reason, Is.EqualTo("MOVE_FAILED"));
        Assert.That((fixture.Workers[1].Loads[^1].LeafBoundaries[1], fixture.Group.Moves), Is.EqualTo((12, 0L)));
    }

    /// <summary>Runs a step of a second, of which the second rank computes nine tenths and the first half as much, again and again.</summary>
    private async Task ServeUntilAsync(GroupFixture fixture, GroupLife life, Func<bool> holds)
    {
        fixture.Workers[0].Takes = (450_000, 550_000);
        fixture.Workers[1].Takes = (900_000, 100_000);
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(5)); // for the pool to run what the timers woke
        for (int second = 0; !holds(); second++)
        {
            Assert.That(second, Is.LessThan(200), "it did not come to pass");
            await fixture.SendAsync(++_step, life.Epoch);
            await fixture.ReceiveAsync();
            fixture.Time.Advance(TimeSpan.FromSeconds(1));
            await pause.WaitForNextTickAsync();
        }
    }
}
