using System.Security.Cryptography;
using TpServe.Checkpoint;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>The workers of the group over its lives: those that live keep what they have loaded, those that died are opened again.</summary>
/// <remarks>
/// A start, <see cref="BringUpAsync"/>:
/// 1. the model's files are those the server was started with; 2. every seat has a worker of its own that has said what it can do, and that no other gateway has;
/// 3. they agree on instruction set and transport, and where the split follows from what they can do, on that; 4. all load at once, which for a worker that kept its shard is joining anew; 5. the step streams are open.
/// Whatever fails in it has a reason, and no worker is left waiting for another.
/// Threads  the group's life alone, but for <see cref="ReviveAsync"/>, which runs beside an epoch on seats that are not in it.
/// </remarks>
internal sealed class WorkerCrew : IAsyncDisposable
{
    private static readonly TimeSpan s_revokeTimeout = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_releaseTimeout = TimeSpan.FromSeconds(2);

    /// <summary>How long a worker's failure that may only echo another's is given for a better reason.</summary>
    private static readonly TimeSpan s_echo = TimeSpan.FromMilliseconds(500);

    private readonly GatewayOptions _options;
    private readonly GroupPolicy _policy;
    private readonly IWorkerSource _source;
    private readonly GroupModel _model;
    private readonly TimeProvider _time;
    private readonly MeasuredPartition? _split;
    private readonly HeldWorker?[] _seats;
    private readonly Task[] _settling;
    private bool _hasLoaded;

    public WorkerCrew(GatewayOptions options, GroupPolicy policy, IWorkerSource source, GroupModel model, int seats, TimeProvider time, MeasuredPartition? split = null)
    {
        _split = split;
        _options = options;
        _policy = policy;
        _source = source;
        _model = model;
        _time = time;
        _seats = new HeldWorker?[seats];
        _settling = new Task[seats];
        Array.Fill(_settling, Task.CompletedTask);
    }

    /// <summary>Seats whose workers live.</summary>
    public IReadOnlyList<int> Alive => [.. Enumerable.Range(0, _seats.Length).Where(seat => _seats[seat] is { IsAlive: true })];

    /// <summary>Every seat.</summary>
    public IReadOnlyList<int> All => [.. Enumerable.Range(0, _seats.Length)];

    /// <summary>Starts an epoch.</summary>
    /// <param name="epoch">Its number.</param>
    /// <param name="plan">Who owns what, rank i being the worker of seats[i].</param>
    /// <param name="seats">Who takes part.</param>
    /// <param name="loading">Told how far each rank is.</param>
    /// <param name="measures">Whether the split follows from what the ranks can do, where the settings say so; else the plan is as it is.</param>
    /// <param name="cancellation">Ends the start.</param>
    /// <returns>The ranks, and their plan, which is another than the given one where the split follows from what they can do.</returns>
    /// <exception cref="WorkerStartException">Why it does not start.</exception>
    /// <exception cref="ModelLoadException">The model's files are gone, or others.</exception>
    public async Task<(IReadOnlyList<RankStatus> Ranks, GroupPlan Plan)> BringUpAsync(
        long epoch, GroupPlan plan, IReadOnlyList<int> seats, Action<int, LoadProgress> loading, bool measures, CancellationToken cancellation)
    {
        // 1. The model.
        _model.RequireUnchanged();

        // 2. Workers.
        HeldWorker[] workers = await Task.WhenAll(seats.Select(seat => EnsureAsync(seat, cancellation)));
        using CancellationTokenSource start = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        try
        {
            HelloReply[] facts = [.. workers.Select(worker => worker.Facts!)];
            LoadPlanner.RequireDistinct(facts, [.. workers.Select(worker => worker.Name)]);
            await UnlessOneExitsAsync([.. workers.Select(worker => HoldAsync(worker, start.Token))], workers, start.Token);

            // 3. What they agree on.
            LoadPlanner.RequireOneRelease(facts);
            // A group that has lost ranks may have nothing left to share inside a host.
            Transport wanted = _options.Transport == Transport.Hosted && seats.Count < _seats.Length ? Transport.Unspecified : _options.Transport;
            Task<TransportChoice> choosing = TransportNegotiation.ChooseAsync(
                wanted, plan.Devices, facts, epoch, [.. workers.Select(worker => worker.Link)], start.Token, _options.Wire);
            await UnlessOneExitsAsync([choosing], workers, start.Token);
            TransportChoice transport = await choosing;
            if (_split is not null && measures)
            {
                Task<(GroupPlan Plan, IReadOnlyList<int> Seats)> splitting = _split.PlanAsync(plan, seats, workers, facts, transport, epoch - GroupMeasurer.Epochs(_seats.Length), start.Token);
                await UnlessOneExitsAsync([splitting], workers, start.Token);
                (plan, IReadOnlyList<int> computing) = await splitting;
                if (computing.Count < workers.Length)
                {
                    // The others live on with nothing loaded: they are there for the next epoch.
                    workers = [.. workers.Where(worker => computing.Contains(worker.Seat))];
                    facts = [.. workers.Select(worker => worker.Facts!)];
                    transport = await TransportNegotiation.ChooseAsync(wanted, plan.Devices, facts, epoch, [.. workers.Select(worker => worker.Link)], start.Token, _options.Wire);
                }
            }
            LoadRequest[] requests = LoadPlanner.Requests(plan, _options, _model.Path, epoch, SegmentPrefix(), facts, transport, _model.Draft?.Path ?? "", _split?.OverlapRows ?? 0);

            // 4. Shards.
            LoadReport[] reports = await LoadAsync(workers, requests, loading, start.Token);
            return ([.. workers.Select((worker, rank) => new RankStatus(worker, requests[rank], reports[rank], transport.Paths[rank]))], plan);
        }
        catch (Exception fault)
        {
            await start.CancelAsync();
            await Task.WhenAll(workers.Where(worker => worker.IsAlive).Select(worker => worker.Link.RevokeAsync(epoch, fault.Message, s_revokeTimeout)));
            throw;
        }
    }

    /// <summary>After the end of an epoch: the dead are done with, the others leave it in the background; one that does not come out is done with too.</summary>
    public void Settle(GroupEpoch epoch, EpochEnd end)
    {
        foreach (HeldWorker dead in end.Dead)
            dead.Fence();
        List<Task> releases = [];
        foreach (HeldWorker worker in epoch.Ranks.Select(rank => rank.Worker))
            if (worker.IsAlive)
                releases.Add(_settling[worker.Seat] = ReleaseAsync(epoch, worker, end.Reason));
        _ = Task.WhenAll(releases).ContinueWith(_ => epoch.Dispose(), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
    }

    /// <summary>Opens the workers of seats that have none again and again, until all have one.</summary>
    public async Task ReviveAsync(IReadOnlyList<int> seats, CancellationToken cancellation)
    {
        TimeSpan pause = TimeSpan.FromSeconds(1);
        while (seats.Any(seat => _seats[seat] is not { IsAlive: true }))
        {
            try
            {
                await Task.WhenAll(seats.Select(seat => EnsureAsync(seat, cancellation)));
            }
            catch (WorkerStartException)
            {
                // Not yet. Nothing depends on it: the group computes without them.
                await Task.Delay(pause, _time, cancellation);
                pause = pause * 2 < Circuit.HalfOpenPause ? pause * 2 : Circuit.HalfOpenPause;
            }
        }
    }

    /// <summary>Ends every worker that was started here, and lets go of the others.</summary>
    public async Task DismissAsync()
    {
        await Task.WhenAll(_settling);
        await Task.WhenAll(_seats.OfType<HeldWorker>().Select(worker => worker.DisposeAsync().AsTask()));
        Array.Clear(_seats);
    }

    public async ValueTask DisposeAsync()
    {
        await DismissAsync();
        _source.Dispose();
    }

    /// <summary>The seat's worker, where it lives, or a new one that has said what it can do.</summary>
    private async Task<HeldWorker> EnsureAsync(int seat, CancellationToken cancellation)
    {
        await _settling[seat];
        if (_seats[seat] is { } held)
        {
            if (held.IsAlive)
            {
                if (held.Facts is not { } known || known.ShmSegments < _seats.Length)
                    await GreetAsync(held, cancellation); // what filled /dev/shm then may be gone
                return held;
            }
            await held.DisposeAsync();
        }
        HeldWorker opened = _seats[seat] = _source.Open(seat);
        await GreetAsync(opened, cancellation);
        return opened;
    }

    private async Task GreetAsync(HeldWorker worker, CancellationToken cancellation)
    {
        Task<HelloReply> hello = worker.Link.HelloAsync(surveyGpus: false, _source.Patience, cancellation);
        await UnlessOneExitsAsync([hello], [worker], cancellation);
        worker.Facts = await hello;
    }

    /// <summary>A worker that was started elsewhere serves one gateway at a time.</summary>
    private async Task HoldAsync(HeldWorker worker, CancellationToken cancellation)
    {
        if (worker.Process is not null || worker.Link.IsHeld)
            return;
        try
        {
            await worker.Link.HoldAsync(_source.Patience, cancellation);
        }
        catch (WorkerStartException fault) when (fault.LostLink)
        {
            worker.Fence();
            throw;
        }
    }

    private async Task ReleaseAsync(GroupEpoch epoch, HeldWorker worker, string reason)
    {
        if (!await epoch.ReleaseAsync(worker, reason, s_revokeTimeout, s_releaseTimeout, CancellationToken.None))
            worker.Fence();
    }

    private async Task<LoadReport[]> LoadAsync(HeldWorker[] workers, LoadRequest[] requests, Action<int, LoadProgress> loading, CancellationToken cancellation)
    {
        using CancellationTokenSource deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        using CancellationTokenSource expired = new(_policy.LoadTimeout, _time);
        using CancellationTokenRegistration expiring = expired.Token.Register(deadline.Cancel);
        IReadOnlyList<LoraAdapter> loras = _model.Loras(); // the same for all
        foreach (LoadRequest request in requests)
        {
            request.Loras.Add(loras);
            request.LoadTimeoutMs = (int)_policy.LoadTimeout.TotalMilliseconds;
            request.ModelIdentity = _model.Identity.Content;
            if (request.Draft is not null)
                request.Draft.ModelIdentity = _model.Draft!.Identity.Content;
            request.WarmUp = !_hasLoaded && !requests.Any(IsSlow);
        }
        Task<LoadReport>[] loads = [.. workers.Select((worker, rank) => LoadAsync(worker, requests[rank], step => loading(rank, step), deadline.Token))];
        Task<IReadOnlyList<HeldWorker>> silent = new Heartbeat(_policy, _time).FindSilentAsync(workers, deadline.Token);
        try
        {
            await UnlessOneExitsAsync([.. loads, silent], workers, cancellation);
            LoadReport[] reports = await Task.WhenAll(loads);
            _hasLoaded = true;
            return reports;
        }
        catch (OperationCanceledException) when (expired.IsCancellationRequested)
        {
            throw new WorkerStartException($"the workers did not load within {_policy.LoadTimeout.TotalSeconds:F0} s.");
        }
        finally
        {
            await deadline.CancelAsync();
            foreach (Task load in loads)
                Forget(load);
            Forget(silent);
        }
    }

    // Streams wait for a group that comes back: their own step is its first. Where a step takes seconds nobody is helped by more of them.
    private static bool IsSlow(LoadRequest request) =>
        request.Device.Kind == DeviceKind.CudaEmulated || (request.Device.Kind == DeviceKind.Cpu && request.Isa == InstructionSet.Scalar);

    private static async Task<LoadReport> LoadAsync(HeldWorker worker, LoadRequest request, Action<LoadProgress> progress, CancellationToken cancellation)
    {
        try
        {
            return await worker.Link.LoadAsync(request, progress, cancellation);
        }
        catch (WorkerStartException fault) when (fault.LostLink)
        {
            worker.Fence();
            throw;
        }
    }

    /// <summary>Waits for all of the work but a watch for silent workers, and no longer than every worker lives; the fault that says most is thrown.</summary>
    private async Task UnlessOneExitsAsync(Task[] work, IReadOnlyList<HeldWorker> workers, CancellationToken cancellation)
    {
        List<Task> open = [.. work, .. workers.Select(worker => worker.Process?.Exited).OfType<Task>()];
        WorkerStartException? echo = null;
        Task patience = Task.Delay(Timeout.InfiniteTimeSpan, cancellation);
        while (work.Any(task => task is not Task<IReadOnlyList<HeldWorker>> && !task.IsCompletedSuccessfully))
        {
            Task done = await Task.WhenAny([.. open, patience]);
            open.Remove(done);
            cancellation.ThrowIfCancellationRequested();
            if (done == patience)
                throw echo!;
            if (workers.FirstOrDefault(worker => worker.Process?.Exited == done) is { } ended)
                throw new WorkerStartException($"worker {ended.Seat} ({ended.Name}) ended with code {await ended.Process!.Exited}: {ended.Process.Tail}");
            if (done is Task<IReadOnlyList<HeldWorker>> { IsCompletedSuccessfully: true } found)
            {
                HeldWorker silent = (await found)[0];
                foreach (HeldWorker worker in await found)
                    worker.Fence();
                throw new WorkerStartException($"worker {silent.Seat} ({silent.Name}) does not answer: it is frozen, or its host cannot be reached.");
            }
            try
            {
                await done;
            }
            catch (WorkerStartException fault) when ((fault.BlamesPeer || fault.LostLink) && echo is null)
            {
                echo = fault;
                patience = Task.Delay(s_echo, _time, cancellation);
            }
            catch (WorkerStartException fault) when (fault.BlamesPeer || fault.LostLink)
            {
                // One echo is as good as another.
            }
        }
    }

    /// <summary>Unlike any other group's, of this gateway or another.</summary>
    internal static string SegmentPrefix() => $"tpserve-{Environment.ProcessId}-{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8))}";

    private static void Forget(Task task) => task.ContinueWith(
        static done => _ = done.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
}

/// <summary>The model that the group serves, and what its files were when the server started.</summary>
/// <param name="Path">Absolute, and the same on every worker's host.</param>
/// <param name="Identity">The files as they were.</param>
/// <param name="Look">Looks at them as they are.</param>
internal sealed record GroupModel(string Path, ModelIdentity Identity, Func<ModelIdentity> Look)
{
    /// <summary>The adapters that are to be held beside it, at the moment.</summary>
    public Func<IReadOnlyList<LoraAdapter>> Loras { get; init; } = () => [];

    /// <summary>The model that guesses ahead; null = none does.</summary>
    public GroupModel? Draft { get; init; }

    /// <summary>The model at a path, and its draft model where there is one.</summary>
    /// <exception cref="ModelLoadException">There is none.</exception>
    public static GroupModel At(string path, string draftPath = "")
    {
        string full = System.IO.Path.GetFullPath(path);
        return new GroupModel(full, ModelIdentity.Of(full), () => ModelIdentity.Of(full)) { Draft = draftPath.Length == 0 ? null : At(draftPath) };
    }

    /// <exception cref="ModelLoadException">The files are gone, or others were put in their place.</exception>
    public void RequireUnchanged()
    {
        Draft?.RequireUnchanged();
        ModelIdentity now = Look();
        if (!now.Equals(Identity))
            throw new ModelLoadException($"{Path} is another model than the one this server serves: now {now}; at the start {Identity}. Restart the server to serve it.");
    }
}
