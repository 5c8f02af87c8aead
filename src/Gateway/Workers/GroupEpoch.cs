using System.Threading.Channels;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>How an epoch ended.</summary>
/// <param name="Reason">For people.</param>
/// <param name="Cause">Whose fault it was.</param>
/// <param name="Dead">Workers that take no further part.</param>
/// <param name="IsDeliberate">The gateway ended it; not a loss.</param>
internal sealed record EpochEnd(string Reason, LossCause Cause, IReadOnlyList<HeldWorker> Dead, bool IsDeliberate = false);

/// <summary>One life of the group that is ready: steps go out to every rank and come back, until something ends it.</summary>
/// <remarks>
/// The end, from <see cref="WatchAsync"/>:
/// 1. the first sign: a process exits, a step stream ends, a worker is silent, a step takes too long, the engine condemns the answers;
/// 2. a sign that may only be another's echo (a rank that waited in vain, a link that broke) is given a moment for a better one;
/// 3. the end is told to <paramref name="ended"/>, and only then to whoever waits for a result, so that nobody finds a dead epoch ready.
/// Threads  as <see cref="IWorkerGroup"/>; <see cref="WatchAsync"/> runs once.
/// </remarks>
/// <param name="epoch">Names it.</param>
/// <param name="ranks">By rank.</param>
/// <param name="policy">How patient it is.</param>
/// <param name="time">The clock.</param>
/// <param name="ended">Told once, on any thread, before anybody else.</param>
/// <param name="recordingFault">Told what a rank could not record as a graph.</param>
/// <param name="tracer">Whom steps are traced for.</param>
internal sealed class GroupEpoch(
    long epoch, IReadOnlyList<RankStatus> ranks, GroupPolicy policy, TimeProvider time, Action<EpochEnd> ended, Action<int, string> recordingFault, StepTracer tracer) : IDisposable
{
    /// <summary>Steps that may be in flight: one runs, one waits at the ranks.</summary>
    public const int MostInFlight = 2;

    /// <summary>How often every rank answers, beside the first step and those that are traced: often enough for whoever looks, seldom enough to cost nothing.</summary>
    private static readonly TimeSpan s_answers = TimeSpan.FromMilliseconds(100);

    /// <summary>How long an echo is given for the sign it echoes.</summary>
    private static readonly TimeSpan s_echo = TimeSpan.FromMilliseconds(500);

    /// <summary>How long a rank is asked to free what another could not load.</summary>
    private static readonly TimeSpan s_unload = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private readonly Queue<(long Step, bool AllAnswer)> _inFlight = new();
    private readonly Heartbeat _heartbeat = new(policy, time);
    private readonly IStepStream[] _streams = [.. ranks.Select(rank => rank.Worker.Link.OpenRun())];
    private readonly TaskCompletionSource<EpochEnd> _condemned = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<EpochEnd> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _oldestSince;
    private long? _allAnsweredAt;

    /// <summary>Names it.</summary>
    public long Number => epoch;

    /// <summary>By rank.</summary>
    public IReadOnlyList<RankStatus> Ranks => ranks;

    private HeldWorker[] Workers => [.. ranks.Select(rank => rank.Worker)];

    /// <summary>Sends a plan to every rank.</summary>
    /// <exception cref="WorkerLostException">The epoch has ended.</exception>
    public async Task SendAsync(StepPlan plan, CancellationToken cancellation)
    {
        if (_ended.Task.IsCompleted)
            throw Lost(await _ended.Task);
        lock (_gate)
        {
            if (_inFlight.Count == MostInFlight)
                throw new InvalidOperationException($"step {plan.Step} is one more than the {MostInFlight} that may be in flight.");
            long now = time.GetTimestamp();
            if (_inFlight.Count == 0)
                _oldestSince = now;
            tracer.Mark(plan);
            plan.AllAnswer = plan.Trace || _allAnsweredAt is not { } last || time.GetElapsedTime(last, now) >= s_answers;
            if (plan.AllAnswer)
                _allAnsweredAt = now;
            _inFlight.Enqueue((plan.Step, plan.AllAnswer));
        }
        await SentAsync(Task.WhenAll(_streams.Select(stream => stream.SendAsync(plan, cancellation))), $"step {plan.Step}", cancellation);
    }

    /// <summary>Sends rank 0 what rows of a step in flight may sample.</summary>
    /// <exception cref="WorkerLostException">The epoch has ended.</exception>
    public async Task SendMasksAsync(StepMasks masks, CancellationToken cancellation)
    {
        if (_ended.Task.IsCompleted)
            throw Lost(await _ended.Task);
        await SentAsync(_streams[0].SendAsync(masks, cancellation), $"what step {masks.Step} may choose", cancellation);
    }

    private async Task SentAsync(Task sends, string what, CancellationToken cancellation)
    {
        if (!sends.IsCompletedSuccessfully && await Task.WhenAny(sends, _ended.Task) == _ended.Task)
        {
            Forget(sends);
            throw Lost(await _ended.Task);
        }
        if (sends.IsFaulted)
        {
            // The stream that broke says so itself; one that only refused this plan does not.
            string reason = sends.Exception.InnerException!.Message;
            await Task.WhenAny(_ended.Task, Task.Delay(s_echo, time, cancellation));
            Condemn($"{what} could not be sent: {reason}");
            throw Lost(await _ended.Task.WaitAsync(cancellation));
        }
        await sends;
    }

    /// <summary>Rank 0's result of the oldest step in flight. The last exchange of a step needs every rank, so that none is more than its end behind.</summary>
    /// <exception cref="WorkerLostException">The epoch ended first.</exception>
    public async Task<StepResult> ReceiveAsync(CancellationToken cancellation)
    {
        (long step, bool allAnswer) = Oldest() ?? throw new InvalidOperationException("no step is in flight.");
        StepResult? first = null;
        for (int rank = 0; rank < (allAnswer ? _streams.Length : 1); rank++)
        {
            StepResult result;
            try
            {
                result = await _streams[rank].ReceiveAsync(cancellation);
            }
            catch (ChannelClosedException)
            {
                throw Lost(await _ended.Task.WaitAsync(cancellation));
            }
            if (result.Epoch != epoch || result.Step != step)
            {
                Condemn($"rank {rank} answered step {result.Step} of epoch {result.Epoch} where step {step} of epoch {epoch} was due.");
                throw Lost(await _ended.Task.WaitAsync(cancellation));
            }
            ranks[rank].Add(result, time.Second());
            if (result.RecordingFault.Length > 0)
                recordingFault(rank, result.RecordingFault);
            first ??= result;
        }
        TimeSpan took;
        lock (_gate)
        {
            _inFlight.Dequeue();
            long now = time.GetTimestamp();
            took = time.GetElapsedTime(_oldestSince, now);
            _oldestSince = now;
        }
        _heartbeat.StepEnded(took);
        tracer.Add(ranks);
        return first!;
    }

    /// <summary>Has every rank load one more adapter: all or none.</summary>
    /// <exception cref="WorkerStartException">A rank's reason.</exception>
    public async Task LoadLoraAsync(LoraAdapter adapter, CancellationToken cancellation)
    {
        LoadLoraRequest request = new() { Epoch = epoch, Adapter = adapter };
        try
        {
            await Task.WhenAll(ranks.Select(rank => rank.Worker.Link.LoadLoraAsync(request, policy.LoadTimeout, cancellation)));
        }
        catch
        {
            await Task.WhenAll(ranks.Select(rank => rank.Worker.Link.UnloadLoraAsync(adapter.Id, s_unload)));
            throw;
        }
    }

    /// <summary>The answers are impossible: ends it as lost.</summary>
    public void Condemn(string reason) => _condemned.TrySetResult(new EpochEnd(reason, LossCause.Worker, []));

    /// <summary>Ends it though nothing is wrong, and waits until it has.</summary>
    public Task EndAsync(string reason)
    {
        _condemned.TrySetResult(new EpochEnd(reason, LossCause.External, [], IsDeliberate: true));
        return _ended.Task;
    }

    /// <summary>Watches until the epoch ends: how it did. Whatever goes wrong with the watching ends it too.</summary>
    /// <exception cref="OperationCanceledException">The gateway stops; the epoch has ended with it.</exception>
    public async Task<EpochEnd> WatchAsync(CancellationToken stopping)
    {
        EpochEnd end = new("the server stops.", LossCause.External, [], IsDeliberate: true);
        using CancellationTokenSource watching = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        try
        {
            end = await FirstSignAsync(watching.Token);
        }
        catch (Exception fault) when (!stopping.IsCancellationRequested)
        {
            end = new EpochEnd($"the group cannot be watched: {fault.GetType().Name}: {fault.Message}", LossCause.Worker, []);
        }
        finally
        {
            await watching.CancelAsync();
            ended(end);
            tracer.EndEpoch();
            _ended.TrySetResult(end);
            foreach (IStepStream stream in _streams)
                stream.GiveUp();
        }
        return end;
    }

    /// <summary>Has a worker leave the epoch: wakes it, lets it finish what it was sent, and waits for the end of its stream.</summary>
    /// <returns>False where it does not come out in time.</returns>
    public async Task<bool> ReleaseAsync(HeldWorker worker, string reason, TimeSpan revokeTimeout, TimeSpan patience, CancellationToken cancellation)
    {
        IStepStream stream = _streams[Array.IndexOf(Workers, worker)];
        await worker.Link.RevokeAsync(epoch, reason, revokeTimeout);
        Task leaving = Task.WhenAll(stream.FinishAsync(), stream.Ended);
        return await Task.WhenAny(leaving, Task.Delay(patience, time, cancellation)) == leaving;
    }

    public void Dispose()
    {
        foreach (IStepStream stream in _streams)
            stream.Dispose();
    }

    private async Task<EpochEnd> FirstSignAsync(CancellationToken cancellation)
    {
        Task<IReadOnlyList<HeldWorker>> silent = _heartbeat.FindSilentAsync(Workers, cancellation);
        Task tooLong = StepTakesTooLongAsync(cancellation);
        Task first = await Task.WhenAny([_condemned.Task, silent, tooLong, .. Exits(), .. _streams.Select(stream => stream.Ended)]);
        Forget(silent);
        Forget(tooLong);
        cancellation.ThrowIfCancellationRequested();
        if (first == _condemned.Task)
            return await _condemned.Task;
        if (first == silent)
            return Silent(await silent);
        if (first == tooLong)
        {
            await tooLong;
            return new EpochEnd(FormattableString.Invariant($"step {Oldest()?.Step ?? 0} took longer than {policy.StepTimeout.TotalSeconds:F0} s."), LossCause.Worker, []);
        }
        return Exited() ?? await ExplainAsync(cancellation);
    }

    /// <summary>A stream has ended: by its worker's own fault, or as an echo of what happened to another.</summary>
    private async Task<EpochEnd> ExplainAsync(CancellationToken cancellation)
    {
        if (OwnFault() is { } own)
            return own;
        await Task.WhenAny([Task.Delay(s_echo, time, cancellation), .. Exits(), .. Exits().Length > 0 ? [] : _streams.Where(stream => !stream.Ended.IsCompleted).Select(stream => stream.Ended)]);
        if ((Exited() ?? OwnFault()) is { } better)
            return better;

        // A link that broke has lost its worker; one that waited in vain waited for a worker that does not answer, or for one that was too slow.
        for (int rank = 0; rank < _streams.Length; rank++)
            if (_streams[rank].Ended is { IsCompletedSuccessfully: true, Result: { Fault: StreamFault.Link } lost })
                return new EpochEnd($"{Rank(rank)} has gone: {lost.Reason}", LossCause.External, [ranks[rank].Worker]);
        if (await Heartbeat.SilentNowAsync(Workers, cancellation) is { Count: > 0 } silent)
            return Silent(silent);
        int waited = Array.FindIndex(_streams, stream => stream.Ended.IsCompleted);
        return new EpochEnd($"{Rank(waited)}: {(await _streams[waited].Ended).Reason}", LossCause.External, []);
    }

    private EpochEnd? OwnFault()
    {
        for (int rank = 0; rank < _streams.Length; rank++)
            if (_streams[rank].Ended is { IsCompletedSuccessfully: true, Result: { Fault: StreamFault.Step or StreamFault.Plan } end })
                return new EpochEnd($"{Rank(rank)} failed in a step: {end.Reason}", LossCause.Worker, end.Fault == StreamFault.Step && ranks[rank].Worker.Process is not null ? [ranks[rank].Worker] : []);
        return null;
    }

    private EpochEnd? Exited()
    {
        List<int> dead = [.. Enumerable.Range(0, ranks.Count).Where(rank => ranks[rank].Worker.Process?.Exited.IsCompletedSuccessfully == true)];
        if (dead.Count == 0)
            return null;
        HeldWorker worker = ranks[dead[0]].Worker;
        int code = worker.Process!.Exited.Result;
        // 128 + a signal that somebody sent; 0 = somebody asked it to stop. All else it did by itself.
        LossCause cause = dead.All(rank => ranks[rank].Worker.Process!.Exited.Result is 0 or 137 or 143) ? LossCause.External : LossCause.Worker;
        return new EpochEnd($"{Rank(dead[0])} ended with code {code}.", cause, [.. dead.Select(rank => ranks[rank].Worker)]);
    }

    private EpochEnd Silent(IReadOnlyList<HeldWorker> silent)
    {
        int rank = Array.IndexOf(Workers, silent[0]);
        return new EpochEnd($"{Rank(rank)} does not answer: it is frozen, or its host cannot be reached.", LossCause.External, silent);
    }

    private string Rank(int rank) => $"the worker of rank {rank} ({ranks[rank].Worker.Name})";

    private Task[] Exits() => [.. ranks.Select(rank => rank.Worker.Process?.Exited).OfType<Task>()];

    private (long Step, bool AllAnswer)? Oldest()
    {
        lock (_gate)
            return _inFlight.TryPeek(out (long, bool) oldest) ? oldest : null;
    }

    private async Task StepTakesTooLongAsync(CancellationToken cancellation)
    {
        while (true)
        {
            TimeSpan rest;
            lock (_gate)
                rest = policy.StepTimeout - (_inFlight.Count == 0 ? TimeSpan.Zero : time.GetElapsedTime(_oldestSince));
            if (rest <= TimeSpan.Zero)
                return;
            await Task.Delay(rest, time, cancellation);
        }
    }

    private static WorkerLostException Lost(EpochEnd end) => new(end.Reason, end.Cause);

    private static void Forget(Task task) => task.ContinueWith(
        static done => _ = done.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
}
