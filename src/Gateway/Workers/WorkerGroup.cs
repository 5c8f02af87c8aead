using System.Security.Cryptography;
using Grpc.Core;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>The group's life: starts the workers, loads their shards, runs steps, and starts over under a new epoch when one is lost.</summary>
/// <remarks>
/// One life of the group, from <see cref="LiveAsync"/>:
/// 1. start a process for each rank (or connect to those started elsewhere); 2. ask each what it can do; 3. agree on instruction set and transport;
/// 4. load all shards at once; 5. open the step streams: ready; 6. wait for the first loss; 7. revoke the epoch, end the processes.
/// Threads  safe; the engine alone calls <see cref="RunStepAsync"/>, one step at a time.
/// Errors   before the first success a failure is final (<see cref="Failed"/>); after it the group tries again for ever, with growing pauses.
/// </remarks>
public sealed partial class WorkerGroup : IWorkerGroup, IAsyncDisposable
{
    private static readonly TimeSpan HelloTimeout = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan RevokeTimeout = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    private readonly GatewayOptions _options;
    private readonly GroupPlan _plan;
    private readonly string _modelPath;
    private readonly IGroupObserver _observer;
    private readonly ILogger<WorkerGroup> _log;
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource<WorkerStartException> _failed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _gate = new();

    private string? _folder;
    private Task _life = Task.CompletedTask;
    private TaskCompletionSource<GroupLife> _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TaskCompletionSource<string> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private RankStatus?[] _ranks;
    private volatile GroupState _state = GroupState.Starting;
    private long _epoch;
    private bool _stopped;

    public WorkerGroup(GatewayOptions options, GroupPlan plan, string modelPath, IGroupObserver observer, ILogger<WorkerGroup> log)
    {
        ArgumentNullException.ThrowIfNull(plan);
        _options = options;
        _plan = plan;
        _modelPath = Path.GetFullPath(modelPath);
        _observer = observer;
        _log = log;
        _ranks = new RankStatus[plan.Degree];
        // External workers outlive gateways and refuse epochs they have seen: the clock keeps ours ahead of an earlier gateway's.
        _epoch = options.Workers.Count == 0 ? 0 : DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
    }

    /// <inheritdoc/>
    public GroupState State => _state;

    /// <summary>Completes with the reason when the first start fails.</summary>
    public Task<WorkerStartException> Failed => _failed.Task;

    /// <summary>Begins the group's life in the background.</summary>
    public void Start() => _life = Task.Run(LiveAsync);

    /// <inheritdoc/>
    public Task<GroupLife> WaitReadyAsync(CancellationToken cancellation)
    {
        lock (_gate)
            return _ready.Task.WaitAsync(cancellation);
    }

    private readonly System.Threading.Channels.Channel<Task<StepResult>> _answers = System.Threading.Channels.Channel.CreateUnbounded<Task<StepResult>>();
    private Task _last = Task.CompletedTask;
    public Task SendAsync(StepPlan plan, CancellationToken cancellation)
    {
        async Task<StepResult> After(Task before) { await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); return await RunStepAsync(plan, cancellation); }
        Task<StepResult> answer = After(_last);
        _last = answer;
        _answers.Writer.TryWrite(answer);
        return Task.CompletedTask;
    }
    public async Task<StepResult> ReceiveAsync(CancellationToken cancellation)
    {
        try { return await await _answers.Reader.ReadAsync(cancellation); }
        catch (WorkerLostException) { while (_answers.Reader.TryRead(out _)) { } throw; }
    }
    public void Condemn(long epoch, string reason) => Lose(_lost, reason);
    public string? Outage => null;

    private async Task<StepResult> RunStepAsync(StepPlan plan, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(plan);
        RankStatus[] ranks;
        TaskCompletionSource<string> lost;
        lock (_gate)
        {
            if (_state != GroupState.Ready || plan.Epoch != _epoch)
                throw new WorkerLostException($"epoch {plan.Epoch} has ended.", LossCause.External);
            ranks = _ranks!;
            lost = _lost;
        }

        Task<StepResult>[] results = new Task<StepResult>[ranks.Length];
        for (int rank = 0; rank < ranks.Length; rank++)
            results[rank] = RunRankAsync(rank, ranks[rank].Client, plan, lost, cancellation);
        Task all = Task.WhenAll(results);
        try
        {
            // The first rank that fails ends the step: the others may wait for it for as long as a collective waits.
            if (await Task.WhenAny(all, lost.Task).WaitAsync(_options.StepTimeout, cancellation) == lost.Task)
                throw new WorkerLostException(await lost.Task, LossCause.External);
        }
        catch (TimeoutException)
        {
            Lose(lost, $"step {plan.Step} took longer than {_options.StepTimeout.TotalSeconds:F0} s.");
            throw new WorkerLostException(await lost.Task, LossCause.External);
        }
        finally
        {
            // What the other ranks still answer to a lost step is nobody's business; their faults must not go unobserved.
            _ = all.ContinueWith(task => _ = task.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        }

        for (int rank = 0; rank < ranks.Length; rank++)
        {
            StepResult result = await results[rank];
            ranks[rank].LastStep = (result.ComputeMicroseconds, result.CollectiveMicroseconds, result.StepMicroseconds);
        }
        return await results[0];
    }

    /// <inheritdoc/>
    public GetTopologyResponse Topology()
    {
        lock (_gate)
            return TopologyReport.Create(_plan, _state, _epoch, _ranks);
    }

    /// <summary>Ends the group and its processes; a second call waits for the same end.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_stopped)
            await _stopping.CancelAsync();
        await _life;
        _stopped = true;
        _stopping.Dispose();
    }

    private async Task<StepResult> RunRankAsync(int rank, WorkerClient client, StepPlan plan, TaskCompletionSource<string> lost, CancellationToken cancellation)
    {
        try
        {
            return await client.RunStepAsync(plan, cancellation);
        }
        catch (RpcException fault)
        {
            Lose(lost, $"rank {rank} failed in step {plan.Step}: {fault.Status.Detail}");
            throw new WorkerLostException(await lost.Task, LossCause.External, fault);
        }
    }

    private async Task LiveAsync()
    {
        TimeSpan pause = FirstPause;
        bool wasReady = false;
        while (!_stopping.IsCancellationRequested)
        {
            long epoch = Interlocked.Increment(ref _epoch);
            List<WorkerProcess> processes = [];
            List<WorkerClient> clients = [];
            using CancellationTokenSource life = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
            try
            {
                await BringUpAsync(epoch, processes, clients, life.Token);
                wasReady = true;
                pause = FirstPause;
                string reason = await WaitForLossAsync(processes, clients, life.Token);
                LogLost(epoch, reason);
                _observer.Lost(epoch, reason);
                await Task.WhenAll(clients.Select(client => client.RevokeAsync(epoch, reason, RevokeTimeout)));
            }
            catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
            {
                // The gateway stops; the processes are ended below.
            }
            catch (Exception fault) when (fault is WorkerStartException or RpcException or IOException)
            {
                LogStartFailed(epoch, fault.Message);
                if (!wasReady)
                    _failed.TrySetResult(fault as WorkerStartException ?? new WorkerStartException(fault.Message, fault));
                await Task.Delay(pause, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                pause = pause * 2 < LongestPause ? pause * 2 : LongestPause;
            }
            finally
            {
                await life.CancelAsync();
                foreach (WorkerProcess process in processes)
                    if (_state == GroupState.Lost)
                        process.Kill();
                clients.ForEach(client => client.Dispose());
                await Task.WhenAll(processes.Select(process => process.DisposeAsync().AsTask()));
                SweepSegments(epoch);
            }
            if (_failed.Task.IsCompleted)
                break;
        }

        lock (_gate)
        {
            _state = GroupState.Stopped;
            _lost.TrySetResult("the server is stopping.");
            _ready.TrySetCanceled();
        }
        if (_folder is not null)
            Directory.Delete(_folder, recursive: true);
    }

    private async Task BringUpAsync(long epoch, List<WorkerProcess> processes, List<WorkerClient> clients, CancellationToken cancellation)
    {
        // 1. Processes, or connections to those that run elsewhere.
        string secret = Secret();
        if (_options.Workers.Count == 0)
        {
            _folder ??= Directory.CreateTempSubdirectory("tpserve-").FullName;
            for (int rank = 0; rank < _plan.Degree; rank++)
                processes.Add(WorkerProcess.Start(_folder, rank, epoch, secret, _options.LogLevel));
        }
        foreach (string address in _options.Workers.Count == 0 ? processes.Select(process => process.Address) : _options.Workers)
            clients.Add(new WorkerClient(address, secret));

        // 2.–3. What each can do; a process that ends meanwhile says why itself.
        TimeSpan patience = processes.Count > 0 ? HelloTimeout : _options.ConnectTimeout;
        Task<HelloReply[]> hellos = Task.WhenAll(clients.Select(client => client.HelloAsync(surveyGpus: false, patience, cancellation)));
        await FirstOf(hellos, processes);
        HelloReply[] facts = await hellos;
        LoadPlanner.RequireOneRelease(facts);
        Task<TransportChoice> choosing = TransportNegotiation.ChooseAsync(_options.Transport, _plan.Devices, facts, epoch, clients, cancellation);
        await FirstOf(choosing, processes);
        TransportChoice transport = await choosing;
        if (transport.Reason.Length > 0)
            LogTransport(epoch, transport.Transport, transport.Reason);
        LoadRequest[] requests = LoadPlanner.Requests(_plan, _options, _modelPath, epoch, SegmentPrefix(epoch), facts, transport);

        // 4. All shards at once.
        using CancellationTokenSource deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(_options.LoadTimeout);
        Task<LoadReport[]> loads = Task.WhenAll(clients.Select((client, rank) =>
            client.LoadAsync(requests[rank], step => _observer.Loading(rank, step.Stage, step.DoneBytes, step.TotalBytes), deadline.Token)));
        try
        {
            await FirstOf(loads, processes);
            await loads;
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new WorkerStartException($"the workers did not load within {_options.LoadTimeout.TotalSeconds:F0} s.");
        }

        // 5. Ready.
        RankStatus[] ranks = new RankStatus[_plan.Degree];
        for (int rank = 0; rank < ranks.Length; rank++)
        {
            clients[rank].OpenRun(cancellation);
            ranks[rank] = new RankStatus(clients[rank], facts[rank], requests[rank], (await loads)[rank], transport.Paths[rank]);
        }
        GroupLife born = new(epoch, _plan.KvBlocks, _plan.BlockTokens);
        lock (_gate)
        {
            _ranks = ranks;
            _lost = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
            _state = GroupState.Ready;
            _ready.TrySetResult(born);
        }
        LogReady(epoch, ranks.Length, ranks[0].Report.Transport, ranks[0].Report.Backend, _plan.Devices.Reason);
        _observer.Ready(Topology());
    }

    private async Task<string> WaitForLossAsync(List<WorkerProcess> processes, List<WorkerClient> clients, CancellationToken cancellation)
    {
        TaskCompletionSource<string> lost = _lost;
        // A worker here is watched by its process, which says more; one elsewhere by its step stream.
        bool local = processes.Count > 0;
        List<Task> ends = [lost.Task, .. local ? processes.Select(process => (Task)process.Exited) : clients.Select(client => client.RunEnded)];
        Task first = await Task.WhenAny(ends).WaitAsync(cancellation);
        int rank = ends.IndexOf(first) - 1;
        if (rank >= 0 && !local)
            Lose(lost, $"the worker of rank {rank} ({clients[rank].Address}) has gone: {await clients[rank].RunEnded}");
        else if (rank >= 0)
            Lose(lost, $"the worker of rank {rank} (pid {processes[rank].Id}) ended with code {await processes[rank].Exited}.");
        else
            Lose(lost, await lost.Task);
        return await lost.Task;
    }

    /// <summary>From here on no step of this epoch runs; whoever waits for a group waits for the next one.</summary>
    private void Lose(TaskCompletionSource<string> lost, string reason)
    {
        lock (_gate)
        {
            if (_lost == lost && _state == GroupState.Ready)
            {
                _state = GroupState.Lost;
                _ready = new TaskCompletionSource<GroupLife>(TaskCreationOptions.RunContinuationsAsynchronously);
            }
        }
        lost.TrySetResult(reason);
    }

    private static async Task FirstOf(Task work, List<WorkerProcess> processes)
    {
        Task first = await Task.WhenAny([work, .. processes.Select(process => process.Exited)]);
        int rank = first == work ? -1 : processes.FindIndex(process => process.Exited == first);
        if (rank < 0)
            return;
        _ = work.ContinueWith(task => _ = task.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        throw new WorkerStartException($"the worker of rank {rank} ended with code {await processes[rank].Exited}: {processes[rank].Tail}");
    }

    private string Secret() => _options.SecretFile.Length > 0
        ? File.ReadAllText(_options.SecretFile).Trim()
        : Convert.ToHexString(RandomNumberGenerator.GetBytes(32));

    private static string SegmentPrefix(long epoch) => $"tpserve-{Environment.ProcessId}-{epoch}";

    private static void SweepSegments(long epoch)
    {
        // Workers unlink their segments as soon as all have mapped them; only a group that died while joining leaves any.
        if (!Directory.Exists("/dev/shm"))
            return;
        foreach (string file in Directory.EnumerateFiles("/dev/shm", SegmentPrefix(epoch) + "-*"))
            File.Delete(file);
    }

    [LoggerMessage(1001, LogLevel.Information, "Group ready: epoch {Epoch}, {Degree} ranks, transport {Transport}, {Backend} ({DeviceReason})")]
    private partial void LogReady(long epoch, int degree, string transport, string backend, string deviceReason);

    [LoggerMessage(1004, LogLevel.Information, "Transport chosen: epoch {Epoch}: {Transport}: {Reason}")]
    private partial void LogTransport(long epoch, string transport, string reason);

    [LoggerMessage(1002, LogLevel.Error, "Group lost: epoch {Epoch}: {Reason}")]
    private partial void LogLost(long epoch, string reason);

    [LoggerMessage(1003, LogLevel.Error, "Group start failed: epoch {Epoch}: {Reason}")]
    private partial void LogStartFailed(long epoch, string reason);
}
