using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>The group's life over fake workers: steps, losses and their causes, who is started again, and when it is given up.</summary>
public sealed class WorkerGroupTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    [Test]
    public async Task Steps_TwoInFlight_AreAnsweredInOrderOnceEveryRankHas()
    {
        await using GroupFixture fixture = new();
        GroupLife life = await fixture.ReadyAsync();
        FakeStream slow = fixture.Workers[1].Stream!;
        slow.Holds = true;
        await fixture.SendAsync(1, life.Epoch);
        await fixture.SendAsync(2, life.Epoch);
        Assert.That(slow.Steps, Is.EqualTo(new[] { 1L, 2L }), "the second plan does not wait for the first result");
        await Assert.ThrowsAsync<InvalidOperationException>(() => fixture.SendAsync(3, life.Epoch));

        Task<StepResult> first = fixture.ReceiveAsync();
        Assert.That(first.IsCompleted, Is.False);
        slow.Answer(new StepResult { Epoch = life.Epoch, Step = 1 });
        Assert.That((await first).StepMicroseconds, Is.EqualTo(fixture.Workers[0].Id), "rank 0's");
        Assert.That((await fixture.ReceiveAsync()).Step, Is.EqualTo(2), "of the second step nobody asks rank 1");
        Assert.That((slow.AllAnswer[0], slow.AllAnswer[1]), Is.EqualTo((true, false)));
    }

    [TestCase(137, LossCause.External)]
    [TestCase(143, LossCause.External)]
    [TestCase(0, LossCause.External)]
    [TestCase(139, LossCause.Worker)]
    [TestCase(134, LossCause.Worker)]
    public async Task Worker_Exits_IsNamedAndOpenedAgainWhileTheOtherKeepsItsShard(int code, LossCause cause)
    {
        await using GroupFixture fixture = new();
        GroupLife life = await fixture.ReadyAsync();
        fixture.Workers[0].Stream!.Holds = true;
        await fixture.SendAsync(1, life.Epoch);
        fixture.Workers[1].Exit(code);
        WorkerLostException lost = await fixture.LostAsync();
        Assert.That(lost.Cause, Is.EqualTo(cause));
        Assert.That(lost.Message, Does.Contain("rank 1").And.Contain("pid 101").And.Contain($"code {code}"));

        GroupLife next = await fixture.ReadyAsync();
        Assert.That(next.Epoch, Is.EqualTo(life.Epoch + 1));
        Assert.That(fixture.Workers.Opened.Select(worker => worker.Seat), Is.EqualTo(new[] { 0, 1, 1 }));
        Assert.That(fixture.Workers[0].Loads.Select(load => load.Epoch), Is.EqualTo(new[] { life.Epoch, next.Epoch }));
        Assert.That(fixture.Workers[0].Revoked, Is.EqualTo(new[] { life.Epoch }));
        Assert.That(fixture.Workers[0].Loads[0].SegmentPrefix, Is.Not.EqualTo(fixture.Workers[0].Loads[1].SegmentPrefix));
        Assert.That((fixture.Group.State, fixture.Group.Outage), Is.EqualTo((GroupState.Ready, (string?)null)));
    }

    [Test]
    public async Task Send_AfterTheEpochEnded_IsLostAndNeverReachesTheNextOne()
    {
        await using GroupFixture fixture = new();
        GroupLife life = await fixture.ReadyAsync();
        fixture.Workers[0].Stream!.Holds = true;
        await fixture.SendAsync(1, life.Epoch);
        fixture.Workers[1].Kill();
        await fixture.ReadyAsync();
        await fixture.LostAsync(); // the step of the epoch that ended, though another is ready
        await Assert.ThrowsAsync<WorkerLostException>(() => fixture.SendAsync(2, life.Epoch));
        Assert.That(fixture.Workers[0].Stream!.Steps.Concat(fixture.Workers[1].Stream!.Steps), Is.Empty);
    }

    [Test]
    public async Task Worker_Silent_IsFencedWithin5SecondsAndNobodyElseIs()
    {
        await using GroupFixture fixture = new();
        GroupLife life = await fixture.ReadyAsync();
        fixture.Workers[0].Stream!.Holds = fixture.Workers[1].Stream!.Holds = true;
        await fixture.SendAsync(1, life.Epoch);
        fixture.Workers[1].Answers = false;
        DateTimeOffset frozen = fixture.Time.GetUtcNow();
        Task<WorkerLostException> lost = fixture.LostAsync();
        await fixture.AdvanceUntilAsync(() => lost.IsCompleted, s_patience);
        Assert.That(fixture.Time.GetUtcNow() - frozen, Is.LessThan(TimeSpan.FromSeconds(3)), "two pings of 1 s come on top");
        Assert.That(((await lost).Cause, (await lost).Message), Is.EqualTo((LossCause.External, "the worker of rank 1 (pid 101) does not answer: it is frozen, or its host cannot be reached.")));
        await fixture.ReadyAsync();
        Assert.That(fixture.Workers.Opened.Select(worker => worker.Seat), Is.EqualTo(new[] { 0, 1, 1 }));
        Assert.That(fixture.Workers.Opened[1].Exited.Result, Is.EqualTo(137));
    }

    [Test]
    public async Task Step_LongWhileAllAnswerPings_GoesOnUntilItsTimeout()
    {
        await using GroupFixture fixture = new(new GroupPolicy { StepTimeout = TimeSpan.FromSeconds(30) });
        GroupLife life = await fixture.ReadyAsync();
        fixture.Workers[0].Stream!.Holds = fixture.Workers[1].Stream!.Holds = true;
        await fixture.SendAsync(7, life.Epoch);
        DateTimeOffset sent = fixture.Time.GetUtcNow();
        Task<WorkerLostException> lost = fixture.LostAsync();
        await fixture.AdvanceUntilAsync(() => lost.IsCompleted, TimeSpan.FromSeconds(60));
        Assert.That(fixture.Time.GetUtcNow() - sent, Is.InRange(TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(32)));
        Assert.That(((await lost).Cause, (await lost).Message), Is.EqualTo((LossCause.Worker, "step 7 took longer than 30 s.")));
    }

    [Test]
    public async Task Worker_ThrowsInAStep_IsItsFaultAndItsPeersEchoIsNot()
    {
        await using GroupFixture fixture = new();
        GroupLife life = await fixture.ReadyAsync();
        fixture.Workers[0].Stream!.Holds = fixture.Workers[1].Stream!.Holds = true;
        await fixture.SendAsync(1, life.Epoch);
        fixture.Workers[0].Stream!.End(StreamFault.Peer, "rank 1 left the group");
        fixture.Workers[1].Stream!.End(StreamFault.Step, "CUDA_ERROR_ILLEGAL_ADDRESS");
        WorkerLostException lost = await fixture.LostAsync();
        Assert.That((lost.Cause, lost.Message), Is.EqualTo((LossCause.Worker, "the worker of rank 1 (pid 101) failed in a step: CUDA_ERROR_ILLEGAL_ADDRESS")));
        await fixture.ReadyAsync();
        Assert.That(fixture.Workers.Opened, Has.Count.EqualTo(3), "a process that threw is not trusted with another step");
    }

    [Test]
    public async Task Rank_WaitedInVainForOneThatAnswers_NobodyIsStartedAnew()
    {
        await using GroupFixture fixture = new(local: false);
        GroupLife life = await fixture.ReadyAsync();
        fixture.Workers[0].Stream!.Holds = fixture.Workers[1].Stream!.Holds = true;
        await fixture.SendAsync(1, life.Epoch);
        fixture.Workers[0].Stream!.End(StreamFault.Peer, "SumTree 5: rank 0 waited 10000 ms for rank 1.");
        Task<WorkerLostException> lost = fixture.LostAsync();
        await fixture.AdvanceUntilAsync(() => lost.IsCompleted, s_patience);
        Assert.That((await lost).Cause, Is.EqualTo(LossCause.External));
        await fixture.ReadyAsync();
        Assert.That(fixture.Workers.Opened, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task Worker_DoesNotComeOutOfItsStep_IsKilledToo()
    {
        await using GroupFixture fixture = new(degree: 3);
        GroupLife life = await fixture.ReadyAsync();
        fixture.Workers[0].Stream!.Holds = true;
        fixture.Workers[2].Leaves = false;
        await fixture.SendAsync(1, life.Epoch);
        fixture.Workers[1].Kill();
        await fixture.LostAsync();
        Task<GroupLife> ready = fixture.ReadyAsync();
        await fixture.AdvanceUntilAsync(() => ready.IsCompleted, s_patience);
        Assert.That(fixture.Workers.Opened.Select(worker => worker.Seat), Is.EqualTo(new[] { 0, 1, 2, 1, 2 }));
        Assert.That(fixture.Workers.Opened[2].Exited.Result, Is.EqualTo(137));
    }

    [Test]
    public async Task Condemn_PresentEpoch_EndsItAsTheWorkersFaultAndAnOldOneDoesNothing()
    {
        await using GroupFixture fixture = new();
        GroupLife life = await fixture.ReadyAsync();
        fixture.Group.Condemn(life.Epoch - 1, "of an epoch that is over");
        fixture.Workers[0].Stream!.Holds = true;
        await fixture.SendAsync(1, life.Epoch);
        fixture.Group.Condemn(life.Epoch, "token 9999 does not exist");
        Assert.That((fixture.Group.State, fixture.Group.Outage), Is.EqualTo((GroupState.Lost, "token 9999 does not exist")), "at once");
        WorkerLostException lost = await fixture.LostAsync();
        Assert.That((lost.Cause, lost.Message), Is.EqualTo((LossCause.Worker, "token 9999 does not exist")));
        Assert.That((await fixture.ReadyAsync()).Epoch, Is.EqualTo(life.Epoch + 1));
    }

    [Test]
    public async Task Rank_AnswersAnotherStep_EndsTheEpoch()
    {
        await using GroupFixture fixture = new();
        GroupLife life = await fixture.ReadyAsync();
        fixture.Workers[1].Stream!.Holds = true;
        await fixture.SendAsync(1, life.Epoch);
        fixture.Workers[1].Stream!.Answer(new StepResult { Epoch = life.Epoch, Step = 9 });
        WorkerLostException lost = await fixture.LostAsync();
        Assert.That((lost.Cause, lost.Message), Is.EqualTo((LossCause.Worker, $"rank 1 answered step 9 of epoch {life.Epoch} where step 1 of epoch {life.Epoch} was due.")));
    }

    [Test]
    public async Task Start_FirstOneFails_IsFinalWithTheWorkersReason()
    {
        await using GroupFixture fixture = new(prepare: workers => workers.OnLoad = (worker, _) => worker.Seat == 1
            ? throw new WorkerStartException("rank 1 cannot load: no room")
            : worker.Woken.ContinueWith<Task>(_ => throw new WorkerStartException("rank 0 cannot load: revoked") { BlamesPeer = true }, TaskScheduler.Default).Unwrap());
        Assert.That((await fixture.Group.Failed.WaitAsync(s_patience)).Message, Is.EqualTo("rank 1 cannot load: no room"));
        await fixture.DisposeAsync();
        Assert.That(fixture.Group.State, Is.EqualTo(GroupState.Stopped));
        Assert.That(fixture.Workers.Opened.All(worker => worker.Exited.IsCompleted), Is.True);
    }

    [Test]
    public async Task Start_TwoSeatsOfOneProcess_NamesBothBeforeAnythingIsLoaded()
    {
        await using GroupFixture fixture = new(local: false, prepare: workers => workers.PidOf = _ => 7);
        Assert.That((await fixture.Group.Failed.WaitAsync(s_patience)).Message, Is.EqualTo("--worker unix:/fake/100 and --worker unix:/fake/101 are the same worker, process 7; each rank needs one of its own."));
        Assert.That(fixture.Workers.Opened.Sum(worker => worker.Loads.Count + worker.Holds), Is.Zero);
    }

    [Test]
    public async Task Start_WorkerServesAnotherGateway_IsRefusedBeforeAnythingIsLoaded()
    {
        await using GroupFixture fixture = new(local: false, prepare: workers => workers.OnOpen = worker => worker.IsTaken = worker.Seat == 1);
        Assert.That((await fixture.Group.Failed.WaitAsync(s_patience)).Message, Does.Contain("unix:/fake/101 serves another gateway"));
        Assert.That(fixture.Workers.Opened.Sum(worker => worker.Loads.Count), Is.Zero);
    }

    [TestCase(true, 1)]
    [TestCase(false, 2)]
    public async Task Restart_WorkerOfElsewhere_IsTakenAgainWhereTheHoldBroke(bool stillHeld, int holds)
    {
        await using GroupFixture fixture = new(local: false);
        GroupLife life = await fixture.ReadyAsync();
        fixture.Workers[0].IsHeld = stillHeld;
        fixture.Group.Condemn(life.Epoch, "a test says so");
        await fixture.ReadyAsync();
        Assert.That((fixture.Workers[0].Holds, fixture.Workers[1].Holds), Is.EqualTo((holds, 1)));
    }

    [Test]
    public async Task Start_WorkersOfThisGateway_NeedNoHold()
    {
        await using GroupFixture fixture = new();
        await fixture.ReadyAsync();
        Assert.That(fixture.Workers.Opened.Sum(worker => worker.Holds), Is.Zero);
    }

    [Test]
    public async Task Start_AFaultOfAnyType_IsAFailedStartWithItsReason()
    {
        await using GroupFixture fixture = new(prepare: workers => workers.OnLoad = (_, _) => throw new InvalidTimeZoneException("of all things"));
        Assert.That((await fixture.Group.Failed.WaitAsync(s_patience)).Message, Is.EqualTo("of all things"));
    }

    [Test]
    public async Task Start_AProcessEndsWhileItsPeerLoads_SaysWhichAndItsLastWords()
    {
        await using GroupFixture fixture = new(prepare: workers => workers.OnLoad = async (worker, _) =>
        {
            if (worker.Seat == 1)
                worker.Exit(1);
            await worker.Woken;
        });
        Assert.That((await fixture.Group.Failed.WaitAsync(s_patience)).Message, Is.EqualTo("worker 1 (pid 101) ended with code 1: its last words"));
        Assert.That(fixture.Workers[0].Revoked, Has.Count.EqualTo(1), "its peer waits no longer");
    }

    [Test]
    public async Task Load_AWorkerFreezes_IsFoundLongBeforeTheLoadTimeout()
    {
        await using GroupFixture fixture = new(prepare: workers => workers.OnLoad = async (worker, _) =>
        {
            worker.Answers = worker.Seat != 1;
            await worker.Woken;
        });
        await fixture.AdvanceUntilAsync(() => fixture.Group.Failed.IsCompleted, TimeSpan.FromSeconds(5));
        Assert.That((await fixture.Group.Failed).Message, Does.Contain("worker 1 (pid 101) does not answer"));
    }

    [Test]
    public async Task Load_TakesTooLong_SaysSo()
    {
        await using GroupFixture fixture = new(new GroupPolicy { LoadTimeout = TimeSpan.FromSeconds(20) }, prepare: workers => workers.OnLoad = (worker, _) => worker.Woken);
        await fixture.AdvanceUntilAsync(() => fixture.Group.Failed.IsCompleted, TimeSpan.FromSeconds(25));
        Assert.That((await fixture.Group.Failed).Message, Is.EqualTo("the workers did not load within 20 s."));
    }

    [Test]
    public async Task Losses_TooMany_OpenTheCircuitTellOnceAndCloseItAgain()
    {
        await using GroupFixture fixture = new(new GroupPolicy { CrashLimit = 3 });
        await fixture.ReadyAsync();
        fixture.Workers.CanOpen = _ => false;
        fixture.Workers[1].Kill();
        await fixture.AdvanceUntilAsync(() => fixture.Group.State == GroupState.Broken, s_patience);
        Assert.That(fixture.Group.Outage, Is.EqualTo("seat 1 is closed."));
        Assert.That(fixture.Observer.Losses, Has.Count.EqualTo(2), "the first two were tried again at once");
        Assert.That(fixture.Observer.Breaks.Single(), Is.EqualTo(("seat 1 is closed.", (TimeSpan?)TimeSpan.FromSeconds(15))));

        // Nobody waited when it opened: who comes next is told, and waits from then on.
        Assert.That((await Assert.ThrowsAsync<GroupUnavailableException>(fixture.ReadyAsync))!.Message, Is.EqualTo("seat 1 is closed."));
        Task<GroupLife> waiting = fixture.Group.WaitReadyAsync(CancellationToken.None);
        Assert.That(waiting.IsCompleted, Is.False);

        // An attempt that fails tells who waits; one that succeeds closes the circuit.
        await fixture.AdvanceUntilAsync(() => waiting.IsCompleted, TimeSpan.FromSeconds(20));
        await Assert.ThrowsAsync<GroupUnavailableException>(() => waiting);
        Assert.That(fixture.Group.State, Is.EqualTo(GroupState.Broken));
        fixture.Workers.CanOpen = _ => true;
        Task<GroupLife> ready = fixture.Group.WaitReadyAsync(CancellationToken.None);
        await fixture.AdvanceUntilAsync(() => ready.IsCompleted, TimeSpan.FromSeconds(20));
        await ready;
        Assert.That((fixture.Group.State, fixture.Group.Outage), Is.EqualTo((GroupState.Ready, (string?)null)));
    }

    [Test]
    public async Task OnRankLoss_Fail_OneLossIsFinalAndTheWorkersAreLetGo()
    {
        await using GroupFixture fixture = new(new GroupPolicy { OnRankLoss = OnRankLoss.Fail });
        await fixture.ReadyAsync();
        Task<GroupLife> waiting = fixture.Group.WaitReadyAsync(CancellationToken.None);
        fixture.Workers[1].Kill();
        await fixture.AdvanceUntilAsync(() => fixture.Observer.Breaks.Count > 0 && fixture.Workers[0].Exited.IsCompleted, s_patience);
        Assert.That(fixture.Observer.Breaks.Single().RetryAfter, Is.Null);
        await fixture.AdvanceUntilAsync(() => fixture.Time.GetUtcNow().Hour > 0, TimeSpan.FromHours(2));
        Assert.That(fixture.Group.State, Is.EqualTo(GroupState.Broken));
        Assert.That(fixture.Workers.Opened, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task Model_ReplacedOrGone_IsRefusedWithBothIdentitiesUntilItIsBack()
    {
        await using GroupFixture fixture = new(new GroupPolicy { CrashLimit = 2 });
        await fixture.ReadyAsync();
        string other = Path.Combine(TestContext.CurrentContext.WorkDirectory, "other.gguf");
        await File.WriteAllTextAsync(other, "another model");
        fixture.Identity = ModelIdentity.Of(other);
        File.Delete(other);
        fixture.Workers[1].Kill();
        await fixture.AdvanceUntilAsync(() => fixture.Group.State == GroupState.Broken, s_patience);
        Assert.That(fixture.Group.Outage, Does.Contain(fixture.Original.ToString()).And.Contain(fixture.Identity.ToString()));

        fixture.Identity = null;
        await fixture.AdvanceUntilAsync(() => fixture.Group.Outage!.Contains("no such file", StringComparison.Ordinal), TimeSpan.FromSeconds(20));
        fixture.Identity = fixture.Original;
        await fixture.AdvanceUntilAsync(() => fixture.Group.State == GroupState.Ready, TimeSpan.FromSeconds(20));
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task OnRankLoss_Shrink_GoesOnWithTheRestAndBackAtAnIdlePoint(bool local)
    {
        await using GroupFixture fixture = new(new GroupPolicy { OnRankLoss = OnRankLoss.Shrink }, local, degree: 3);
        GroupLife life = await fixture.ReadyAsync();
        fixture.Workers.CanOpen = _ => false;
        await fixture.SendAsync(1, life.Epoch);
        await fixture.ReceiveAsync();
        Task<GroupLife> next = NextAsync(fixture, life);
        if (local)
            fixture.Workers[1].Kill();
        else
            fixture.Workers[1].Dispose();
        await fixture.AdvanceUntilAsync(() => next.IsCompleted, s_patience);

        // Ranks 0 and 1 of the smaller group are the workers of seats 0 and 2; nothing counts as restorable while seat 1 cannot be had.
        Assert.That(fixture.Replanned.Single(), Is.EqualTo(new[] { 0, 2 }));
        Assert.That(fixture.Workers[2].Loads[^1], Has.Property("Rank").EqualTo(1).And.Property("Degree").EqualTo(2));
        Assert.That((fixture.Group.State, fixture.Group.WantsRestore), Is.EqualTo((GroupState.Ready, false)));
        Assert.That(fixture.Group.Topology().Ranks, Has.Count.EqualTo(2));
        await fixture.Group.RestoreAsync();
        Assert.That(fixture.Group.State, Is.EqualTo(GroupState.Ready));

        fixture.Workers.CanOpen = _ => true;
        await fixture.AdvanceUntilAsync(() => fixture.Group.WantsRestore, TimeSpan.FromSeconds(20));
        GroupLife shrunk = await next;
        await fixture.Group.RestoreAsync();
        Task<GroupLife> whole = NextAsync(fixture, shrunk);
        await fixture.AdvanceUntilAsync(() => whole.IsCompleted, s_patience);
        Assert.That(fixture.Group.Topology().Ranks, Has.Count.EqualTo(3));
        Assert.That(fixture.Workers.Opened.Select(worker => worker.Seat), Is.EqualTo(new[] { 0, 1, 2, 1 }));
        Assert.That(fixture.Observer.Losses, Has.Count.EqualTo(1), "going back is no loss");
    }

    [Test]
    public async Task OnRankLoss_ShrinkWithNobodyLeft_StartsAllAnew()
    {
        await using GroupFixture fixture = new(new GroupPolicy { OnRankLoss = OnRankLoss.Shrink });
        GroupLife life = await fixture.ReadyAsync();
        Task<GroupLife> next = NextAsync(fixture, life);
        fixture.Workers[0].Kill();
        fixture.Workers[1].Kill();
        await fixture.AdvanceUntilAsync(() => next.IsCompleted && fixture.Group.Topology().Ranks.Count == 2, s_patience);
        Assert.That(fixture.Workers.Opened.Count, Is.GreaterThanOrEqualTo(4));
    }

    [Test]
    public async Task Dispose_WithAStepInFlight_EndsWhoWaits()
    {
        GroupFixture fixture = new();
        GroupLife life = await fixture.ReadyAsync();
        fixture.Workers[0].Stream!.Holds = true;
        await fixture.SendAsync(1, life.Epoch);
        Task<StepResult> receiving = fixture.ReceiveAsync();
        await fixture.DisposeAsync();
        await Assert.ThrowsAsync<WorkerLostException>(() => receiving);
        await Assert.ThrowsAsync<TaskCanceledException>(() => fixture.ReadyAsync());
        Assert.That(fixture.Workers.Opened.All(worker => worker.IsDisposed), Is.True);
    }

    /// <summary>The next life after one, as the engine waits for it.</summary>
    private static async Task<GroupLife> NextAsync(GroupFixture fixture, GroupLife before)
    {
        while (true)
        {
            GroupLife life = await fixture.Group.WaitReadyAsync(CancellationToken.None).WaitAsync(s_patience);
            if (life.Epoch != before.Epoch)
                return life;
            await Task.Yield();
        }
    }
}
