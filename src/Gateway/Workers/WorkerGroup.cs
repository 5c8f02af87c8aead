using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>The group's life: starts the workers, loads their shards, runs steps, and starts over under a new epoch when one is lost.</summary>
/// <remarks>
/// From <see cref="LiveAsync"/>, once for each epoch:
/// 1. choose who takes part: all, or, where a loss shrinks the group, those that are left; 2. bring them up (<see cref="WorkerCrew"/>); 3. ready: steps run
/// (<see cref="GroupEpoch"/>) until the epoch ends; 4. the dead are done with, the living leave the epoch; 5. wait as long as the <see cref="Circuit"/> says.
/// Threads  safe; who may call what: <see cref="IWorkerGroup"/>. Nothing is logged and nobody is told under the lock.
/// Errors   before the first success a failure is final (<see cref="Failed"/>); after it every failure, of whatever type, is a failed start with its reason.
/// </remarks>
internal sealed partial class WorkerGroup : IWorkerGroup, IAsyncDisposable
{
    /// <summary>How long a group that has loaded waits for what else is prepared.</summary>
    private static readonly TimeSpan s_preparation = TimeSpan.FromSeconds(2);

    private readonly GroupPolicy _policy;
    private readonly GroupPlan _fullPlan;
    private readonly Func<IReadOnlyList<int>, GroupPlan> _replan;
    private readonly WorkerCrew _crew;
    private readonly Circuit _circuit;
    private readonly IGroupObserver _observer;
    private readonly TimeProvider _time;
    private readonly ILogger<WorkerGroup> _log;
    private readonly Balancer _balancer;
    private readonly StepTracer _tracer = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource<WorkerStartException> _failed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _gate = new();

    private Task _life = Task.CompletedTask;
    private Task _prepared = Task.CompletedTask;
    private TaskCompletionSource<GroupLife> _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private GroupEpoch? _current;
    private GroupEpoch? _sentTo; // the epoch whose results the engine awaits, which may have ended since
    private GroupPlan _plan;
    private GroupPlan? _moved; // what all take part in since the split was changed; null = it never was
    private (GroupPlan? Before, bool Open) _moving; // a move has begun whose epoch is not ready yet, and what to go back to
    private bool _wasLost;
    private IReadOnlyList<RankStatus> _ranks = [];
    private GroupState _state = GroupState.Starting;
    private string? _outage;
    private string? _untold; // the circuit has opened and nobody who waits was told
    private int _waiting;
    private bool _canRestore;
    private long _epoch;
    private bool _stopped;

    /// <param name="options">Checked settings.</param>
    /// <param name="policy">How patient it is, and what it does about a loss.</param>
    /// <param name="plan">Who owns what while all take part.</param>
    /// <param name="replan">The plan for those that are left, by seat.</param>
    /// <param name="model">What they load.</param>
    /// <param name="source">Where they come from.</param>
    /// <param name="observer">Told how it goes.</param>
    /// <param name="time">The clock.</param>
    /// <param name="log">The log.</param>
    /// <param name="balancer">Says when the split is to be changed.</param>
    /// <param name="split">Splits by what the workers can do; null = the plans are as they are.</param>
    public WorkerGroup(
        GatewayOptions options, GroupPolicy policy, GroupPlan plan, Func<IReadOnlyList<int>, GroupPlan> replan, GroupModel model, IWorkerSource source,
        IGroupObserver observer, TimeProvider time, ILogger<WorkerGroup> log, Balancer balancer, MeasuredPartition? split = null)
    {
        _balancer = balancer;
        _policy = policy;
        _fullPlan = _plan = plan;
        _replan = replan;
        _crew = new WorkerCrew(options, policy, source, model, plan.Degree, time, split);
        _circuit = new Circuit(policy, time);
        _observer = observer;
        _time = time;
        _log = log;
        // External workers outlive gateways and refuse epochs they have seen: the clock keeps ours ahead of an earlier gateway's.
        _epoch = (options.Workers.Count == 0 ? 0 : time.GetUtcNow().ToUnixTimeMilliseconds()) + (split is null ? 0 : GroupMeasurer.Epochs(plan.Degree));
    }

    /// <inheritdoc/>
    public GroupState State
    {
        get
        {
            lock (_gate)
                return _state;
        }
    }

    /// <inheritdoc/>
    public string? Outage
    {
        get
        {
            lock (_gate)
                return _outage;
        }
    }

    /// <inheritdoc/>
    public bool WantsRestore
    {
        get
        {
            lock (_gate)
                return _canRestore;
        }
    }

    /// <inheritdoc/>
    public MoveWish WantsMove => _balancer.Wish;

    /// <inheritdoc/>
    public long Moves => _balancer.Count;

    /// <summary>Completes with the reason when the first start fails.</summary>
    public Task<WorkerStartException> Failed => _failed.Task;

    /// <summary>Begins the group's life in the background.</summary>
    /// <param name="prepared">What the first readiness waits for beside the workers, for a while; it does not fail.</param>
    public void Start(Task? prepared = null)
    {
        _prepared = prepared ?? Task.CompletedTask;
        _life = Task.Run(LiveAsync);
    }

    /// <inheritdoc/>
    public async Task<GroupLife> WaitReadyAsync(CancellationToken cancellation)
    {
        Task<GroupLife> ready;
        lock (_gate)
        {
            if (_untold is { } reason)
            {
                _untold = null;
                throw new GroupUnavailableException(reason);
            }
            ready = _ready.Task;
            _waiting++;
        }
        try
        {
            return await ready.WaitAsync(cancellation);
        }
        finally
        {
            lock (_gate)
                _waiting--;
        }
    }

    /// <inheritdoc/>
    public Task SendAsync(StepPlan plan, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(plan);
        lock (_gate)
            _sentTo = _current is { } current && current.Number == plan.Epoch ? current : throw new WorkerLostException($"epoch {plan.Epoch} has ended.", LossCause.External);
        return _sentTo.SendAsync(plan, cancellation);
    }

    /// <inheritdoc/>
    public Task SendMasksAsync(StepMasks masks, CancellationToken cancellation) =>
        _sentTo?.SendMasksAsync(masks, cancellation) ?? throw new InvalidOperationException("no step is in flight.");

    /// <inheritdoc/>
    public Task<StepResult> ReceiveAsync(CancellationToken cancellation) =>
        _sentTo?.ReceiveAsync(cancellation) ?? throw new InvalidOperationException("no step is in flight.");

    /// <inheritdoc/>
    public void Condemn(long epoch, string reason)
    {
        GroupEpoch? current;
        lock (_gate)
        {
            current = _current;
            if (current?.Number != epoch)
                return;
            EndReadiness(reason); // before its end is settled: who condemned it must not find it ready again
        }
        current.Condemn(reason);
    }

    /// <inheritdoc/>
    public Task RestoreAsync()
    {
        GroupEpoch? shrunk;
        lock (_gate)
            shrunk = _canRestore ? _current : null;
        return shrunk?.EndAsync("the group goes back to all its ranks.") ?? Task.CompletedTask;
    }

    /// <inheritdoc/>
    public async Task<bool> MoveAsync(int usedBlocks, TimeSpan recompute)
    {
        GroupEpoch current;
        lock (_gate)
        {
            if (_state != GroupState.Ready || _balancer.Take(_plan.Partition, usedBlocks, recompute) is not { } plan)
                return false;
            current = _current!;
            _moving = (_moved, true);
            _moved = plan;
        }
        await current.EndAsync("the group moves to another split.");
        return true;
    }

    /// <inheritdoc/>
    public Task<GroupMove?> ReshardAsync(IReadOnlyList<double> weights, MoveWish when, CancellationToken cancellation)
    {
        GroupPlan plan;
        lock (_gate)
            plan = _state == GroupState.Ready && _plan.Degree == _fullPlan.Degree ? _plan : throw Balancer.NotWhole();
        return _balancer.AskAsync(plan.Partition, weights, when, _fullPlan.MaxModelLen, cancellation);
    }

    /// <inheritdoc/>
    public Task LoadLoraAsync(LoraAdapter adapter, CancellationToken cancellation)
    {
        GroupEpoch current;
        lock (_gate)
            current = _state == GroupState.Ready ? _current! : throw new GroupUnavailableException(_outage ?? "it starts.");
        return current.LoadLoraAsync(adapter, cancellation);
    }

    /// <inheritdoc/>
    public GetTopologyResponse Topology()
    {
        lock (_gate)
            return TopologyReport.Create(_plan, _state, _current?.Number ?? 0, _ranks, _time.Second(), _balancer);
    }

    /// <inheritdoc/>
    public IAsyncEnumerable<TracedStep> TraceAsync(int steps, CancellationToken cancellation) => _tracer.TraceAsync(steps, cancellation);

    /// <summary>Ends the group and its processes; a second call waits for the same end.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_stopped)
            await _stopping.CancelAsync();
        await _life;
        _stopped = true;
        _stopping.Dispose();
    }

    private async Task LiveAsync()
    {
        try
        {
            while (await LiveOnceAsync())
            {
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The gateway stops; the processes are ended below.
        }
        finally
        {
            await _crew.DisposeAsync();
            lock (_gate)
            {
                _state = GroupState.Stopped;
                _canRestore = false;
                _ready.TrySetCanceled();
            }
        }
    }

    /// <summary>One epoch, from its start to its end and the pause after it. False where there is to be no other.</summary>
    private async Task<bool> LiveOnceAsync()
    {
        long epoch = Interlocked.Increment(ref _epoch);
        bool first = _ranks.Count == 0;
        string reason;
        try
        {
            IReadOnlyList<int> seats = _policy.OnRankLoss == OnRankLoss.Shrink && !first && _crew.Alive is { Count: > 0 } alive ? alive : _crew.All;
            bool shrunk = seats.Count < _fullPlan.Degree;
            GroupPlan? moved = shrunk ? null : _moved;
            GroupPlan plan = shrunk ? _replan(seats) : moved ?? _fullPlan;
            (IReadOnlyList<RankStatus> ranks, plan) = await _crew.BringUpAsync(
                epoch, plan, seats, (rank, step) => _observer.Loading(rank, step.Stage, step.DoneBytes, step.TotalBytes), measures: moved is null, _stopping.Token);
            if (!_prepared.IsCompleted)
                await Task.WhenAny(_prepared, Task.Delay(s_preparation, _time, _stopping.Token));
            for (int rank = 0; rank < ranks.Count; rank++)
                LogLoaded(rank, ranks[rank].Report.Seconds, ranks[rank].Report.Stages);
            LogReady(epoch, ranks.Count, ranks[0].Report.Transport, ranks[0].Report.TransportReason, ranks[0].Report.Backend, plan.Devices.Reason);
            _observer.Ready(TopologyReport.Create(plan, GroupState.Ready, epoch, ranks, _time.Second()));
            GroupEpoch group = new(epoch, ranks, _policy, _time, NoteEnd, LogRecordingFault, _tracer);
            NoteReady(group, plan);

            EpochEnd end = await WatchAsync(group, plan, shrunk ? [.. _crew.All.Except(seats)] : []);
            _crew.Settle(group, end);
            _wasLost = !end.IsDeliberate;
            if (end.IsDeliberate)
            {
                LogEnded(epoch, end.Reason);
                return true;
            }
            reason = end.Reason;
            LogLost(epoch, reason);
        }
        catch (Exception fault) when (!_stopping.IsCancellationRequested)
        {
            reason = fault.Message;
            LogStartFailed(epoch, reason);
            GoBack(reason);
            if (first)
            {
                _failed.TrySetResult(fault as WorkerStartException ?? new WorkerStartException(reason, fault));
                return false;
            }
        }
        await PauseAsync(epoch, reason);
        return true;
    }

    /// <summary>Watches an epoch; beside it the workers it lacks are opened again, so that all can take part in the next.</summary>
    private async Task<EpochEnd> WatchAsync(GroupEpoch group, GroupPlan plan, IReadOnlyList<int> missing)
    {
        if (missing.Count == 0)
            return await WatchBalanceAsync(group, plan);
        LogShrunk(group.Number, group.Ranks.Count, _fullPlan.Degree);
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        Task revived = ReviveAsync();
        try
        {
            return await group.WatchAsync(_stopping.Token);
        }
        finally
        {
            await over.CancelAsync();
            await revived;
        }

        async Task ReviveAsync()
        {
            try
            {
                await _crew.ReviveAsync(missing, over.Token);
                lock (_gate)
                    _canRestore = _current == group && _state == GroupState.Ready;
            }
            catch (OperationCanceledException) when (over.IsCancellationRequested)
            {
                // The epoch ended first: the next one is made of those that live.
            }
        }
    }

    /// <summary>Watches an epoch of all ranks; beside it, how even they are.</summary>
    private async Task<EpochEnd> WatchBalanceAsync(GroupEpoch group, GroupPlan plan)
    {
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        // A group that leaves a worker out was planned so: its split has no part for all.
        Task balance = plan.Degree == _fullPlan.Degree ? _balancer.WatchAsync(group, plan, _fullPlan.MaxModelLen, _wasLost, over.Token) : Task.CompletedTask;
        try
        {
            return await group.WatchAsync(_stopping.Token);
        }
        finally
        {
            await over.CancelAsync();
            await balance;
        }
    }

    /// <summary>An epoch did not come up: where it was to have another split, the next one has the split before.</summary>
    private void GoBack(string reason)
    {
        lock (_gate)
        {
            if (!_moving.Open)
                return;
            (_moved, _moving) = (_moving.Before, default);
        }
        _balancer.Failed(reason);
    }

    private void NoteReady(GroupEpoch group, GroupPlan plan)
    {
        _circuit.Succeeded();
        if (plan.Degree == _fullPlan.Degree)
            _balancer.Succeeded(group);
        else
            GoBack("a rank was lost meanwhile.");
        lock (_gate)
        {
            _moving = default;
            _current = group;
            _plan = plan;
            _ranks = group.Ranks;
            _state = GroupState.Ready;
            _outage = _untold = null;
            _ready.TrySetResult(new GroupLife(group.Number, plan.KvBlocks, plan.BlockTokens));
        }
    }

    /// <summary>From here on no step of this epoch runs; whoever waits for a group waits for the next one.</summary>
    private void NoteEnd(EpochEnd end)
    {
        lock (_gate)
            EndReadiness(end.Reason);
    }

    /// <summary>Under the lock: nothing where it has ended already, for somebody may be waiting for the next readiness by now.</summary>
    private void EndReadiness(string reason)
    {
        if (_state != GroupState.Ready)
            return;
        _state = GroupState.Lost;
        _outage = reason;
        _canRestore = false;
        _ready = new TaskCompletionSource<GroupLife>(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>Counts a failure, and waits as long as the circuit says.</summary>
    private async Task PauseAsync(long epoch, string reason)
    {
        _circuit.Failed();
        TimeSpan pause = _circuit.Pause;
        if (!_circuit.IsOpen)
        {
            lock (_gate)
                _outage = reason;
            _observer.Lost(epoch, reason);
            await Task.Delay(pause, _time, _stopping.Token);
            return;
        }
        NoteBroken(reason);
        LogBroken(epoch, reason);
        _observer.Broken(reason, _circuit.IsFinal ? null : pause);
        if (_circuit.IsFinal)
        {
            await _crew.DismissAsync();
            pause = Timeout.InfiniteTimeSpan;
        }
        await Task.Delay(pause, _time, _stopping.Token);
    }

    private void NoteBroken(string reason)
    {
        lock (_gate)
        {
            _state = GroupState.Broken;
            _outage = reason;
            if (_waiting == 0)
            {
                _untold = reason;
                return;
            }
            _ready.TrySetException(new GroupUnavailableException(reason));
            _ready = new TaskCompletionSource<GroupLife>(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    [LoggerMessage(1001, LogLevel.Information, "Group ready: epoch {Epoch}, {Degree} ranks, transport {Transport} ({TransportReason}), {Backend} ({DeviceReason})")]
    private partial void LogReady(long epoch, int degree, string transport, string transportReason, string backend, string deviceReason);

    [LoggerMessage(1010, LogLevel.Debug, "Rank {Rank} loaded in {Seconds:F2} s: {Stages}")]
    private partial void LogLoaded(int rank, double seconds, string stages);

    [LoggerMessage(1002, LogLevel.Error, "Group lost: epoch {Epoch}: {Reason}")]
    private partial void LogLost(long epoch, string reason);

    [LoggerMessage(1003, LogLevel.Error, "Group start failed: epoch {Epoch}: {Reason}")]
    private partial void LogStartFailed(long epoch, string reason);

    [LoggerMessage(1005, LogLevel.Error, "Group given up for a while: epoch {Epoch}: requests are refused: {Reason}")]
    private partial void LogBroken(long epoch, string reason);

    [LoggerMessage(1006, LogLevel.Warning, "Group shrunk: epoch {Epoch} goes on with {Ranks} of {Degree} ranks")]
    private partial void LogShrunk(long epoch, int ranks, int degree);

    [LoggerMessage(1007, LogLevel.Information, "Group goes on: epoch {Epoch} ends: {Reason}")]
    private partial void LogEnded(long epoch, string reason);

    [LoggerMessage(1008, LogLevel.Warning, "Rank {Rank} cannot record its steps as graphs and runs them one kernel at a time: {Fault}")]
    private partial void LogRecordingFault(int rank, string fault);
}
