using System.Runtime.CompilerServices;
using Grpc.Core;
using TpServe.Gateway.Adapters;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Scheduling;
using TpServe.Gateway.Telemetry;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;
using TpServe.Tokenization;

namespace TpServe.Gateway.Engine;

/// <summary>The one loop: what the scheduler plans runs on the worker group, what comes back becomes each request's events.</summary>
/// <remarks>
/// The loop (<see cref="RunAsync"/>), once for each life of the group:
///   1. wait until the group is ready; requests queue up meanwhile;
///   2. plan steps and send them, until two are in flight: the workers begin the next one without waiting for us;
///   3. where there is nothing to do, check the books and sleep until a request comes; where the group wants another split, let it have its pause,
///      between two steps if none comes by itself: what ran goes on in the next life with the tokens it would have had;
///   4. take in the oldest result: text, stop strings and events of each output; what constraints let the step behind it sample follows that one;
///   5. where the group is lost, what ran stands in the queue again and goes on in the next life with the tokens it would have had. A request that killed
///      the group twice running, or that has lived through too many losses, ends.
/// Threads  one lock guards scheduler and requests and is never held across an await. Arrivals, departures and deadlines take it directly, so they
///          take effect while a step runs.
/// </remarks>
public sealed partial class InferenceEngine : IDisposable
{
    private const int Window = 2; // steps in flight
    private static readonly TimeSpan s_longestTimer = TimeSpan.FromDays(40); // timers hold no more than 2³² ms
    private static readonly TimeSpan s_housekeeping = TimeSpan.FromSeconds(1);

    private readonly IWorkerGroup _group;
    private readonly Tokenizer _tokenizer;
    private readonly EngineSettings _settings;
    private readonly TimeProvider _clock;
    private readonly ILogger<InferenceEngine> _log;
    private readonly ServingMetrics? _metrics;
    private readonly LoraRegistry _loras;
    private readonly Lock _gate = new();
    private readonly Scheduler _scheduler;
    private readonly StepPace _pace = new();
    private readonly Dictionary<string, ActiveRequest> _active = []; // in flight: they queue, run or are suspended
    private readonly Dictionary<Sequence, ActiveOutput> _outputs = [];
    private readonly ResumableRequests _resumable;
    private readonly SemaphoreSlim _work = new(0, 1); // released when there may be something to plan
    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private EngineUnavailableException? _refusing; // set once: no new requests
    private long _steps, _generatedTokens, _promptTokens, _recoveries, _kept;

    public InferenceEngine(
        IWorkerGroup group, Tokenizer tokenizer, SchedulerSettings scheduling, EngineSettings settings, TimeProvider clock, ILogger<InferenceEngine> log, ServingMetrics? metrics = null, LoraRegistry? loras = null)
    {
        _loras = loras ?? new LoraRegistry();
        _group = group;
        _tokenizer = tokenizer;
        _settings = settings;
        _clock = clock;
        _log = log;
        _metrics = metrics;
        _scheduler = new Scheduler(scheduling);
        _resumable = new ResumableRequests(settings.ResumeBytes);
        _kept = clock.GetTimestamp();
    }

    /// <summary>Whether a request would run now.</summary>
    public bool IsReady => _group.State == GroupState.Ready && _refusing is null;

    /// <summary>Counts at this moment.</summary>
    public EngineLoad Load()
    {
        lock (_gate)
            return new EngineLoad
            {
                RunningSequences = _scheduler.Running.Count,
                WaitingSequences = _scheduler.Waiting.Count,
                WaitingTokens = _scheduler.WaitingTokens,
                UsedBlocks = _scheduler.UsedBlocks,
                CachedBlocks = _scheduler.CachedBlocks,
                TotalBlocks = _scheduler.TotalBlocks,
                BlockTokens = _scheduler.BlockTokens,
                Steps = _steps,
                GeneratedTokens = _generatedTokens,
                PromptTokens = _promptTokens,
                Preemptions = _scheduler.Preemptions,
                Recoveries = _recoveries,
                CacheTokens = _scheduler.CacheTokens,
                DraftTokens = _scheduler.DraftTokens,
                Draining = _refusing is not null,
            };
    }

    /// <summary>How long until the queue will have room, by the measured rate; null where nothing is measured.</summary>
    public TimeSpan? TimeToRoom()
    {
        lock (_gate)
            return _pace.CatchUpTokensPerSecond is { } rate ? TimeSpan.FromSeconds(Math.Clamp(Math.Ceiling(UncachedShare() * _scheduler.WaitingTokens / rate), 1, 60)) : null;
    }

    /// <summary>Refuses a request that would not be taken in anyhow, before work goes into it.</summary>
    /// <exception cref="QueueFullException">The queue is full.</exception>
    /// <exception cref="EngineUnavailableException">Nothing is taken in.</exception>
    public void RequireRoom()
    {
        lock (_gate)
        {
            RequireService();
            _scheduler.RequireRoom();
        }
    }

    /// <summary>Runs a request; its events as they happen.</summary>
    /// <param name="request">What is asked.</param>
    /// <param name="resumable">Leaving the enumeration suspends the request for the resume window; else, or where the window is zero, it ends it. What it held is free at the next step either way.</param>
    /// <param name="presentation">What the caller needs to present the events again, for who resumes them.</param>
    /// <param name="cancellation">The client has left.</param>
    /// <remarks>
    /// Errors   <see cref="QueueFullException"/> and <see cref="RequestRejectedException"/> before the first event;
    ///          <see cref="EngineUnavailableException"/>, <see cref="DeadlineExceededException"/> and <see cref="RequestFaultException"/> at any time.
    /// </remarks>
    public IAsyncEnumerable<GenerationEvent> GenerateAsync(
        ValidatedRequest request, bool resumable = false, object? presentation = null, CancellationToken cancellation = default) =>
        ReadAsync(() => Add(request, resumable && _settings.ResumeWindow > TimeSpan.Zero, presentation), cancellation);

    /// <summary>Forgets every cached prefix. How many blocks were known.</summary>
    public int FlushCache()
    {
        lock (_gate)
            return _scheduler.FlushCache();
    }

    /// <summary>Refuses new requests from now on and waits until those in flight have ended, or the token. How many are left.</summary>
    public async Task<int> DrainAsync(CancellationToken cancellation)
    {
        Refuse(new EngineUnavailableException("DRAINING", "The server drains: it takes no new requests."));
        try
        {
            await _drained.Task.WaitAsync(cancellation);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // The caller's time is up; the answer says what is left.
        }
        lock (_gate)
            return _active.Count;
    }

    /// <summary>Ends everything in flight as UNAVAILABLE and refuses what comes.</summary>
    public void Stop()
    {
        Refuse(new EngineUnavailableException("STOPPING", "The server stops."));
        FailAll(() => new EngineUnavailableException("STOPPING", "The server stops."));
    }

    /// <summary>The loop; see the class. Ends with the token, or by a fault of TpServe itself, having ended every request either way.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
        try
        {
            while (true)
            {
                long epoch = 0;
                try
                {
                    GroupLife life = await _group.WaitReadyAsync(stopping);
                    epoch = life.Epoch;
                    StartLife(life);
                    await RunLifeAsync(life, stopping);
                    lock (_gate)
                        _scheduler.EndLife(); // nothing was in flight
                }
                catch (WorkerLostException lost)
                {
                    LoseLife(lost);
                }
                catch (StepMismatchException mismatch)
                {
                    _group.Condemn(epoch, mismatch.Message);
                    LoseLife(new WorkerLostException(mismatch.Message, LossCause.Worker));
                }
                catch (GroupUnavailableException broken)
                {
                    LoseLife(new WorkerLostException(broken.Message, LossCause.External));
                    FailAll(() => Unavailable(broken.Message));
                }
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested || _group.State == GroupState.Stopped)
        {
            Stop(); // the host or the group ends, which says itself why
        }
        catch (Exception fault)
        {
            EngineLog.Failed(_log, fault);
            Refuse(new EngineUnavailableException("STOPPING", "The server stops after an internal fault."));
            FailAll(() => new EngineFailedException($"The engine failed: {fault.Message}"));
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _work.Dispose();

    /// <summary>Returns when the group has begun another life, or is to begin one, while there was nothing to do or nothing in flight.</summary>
    private async Task RunLifeAsync(GroupLife life, CancellationToken stopping)
    {
        int inFlight = 0;
        while (true)
        {
            bool pauses = _group.WantsMove == MoveWish.Now;
            while (!pauses && inFlight < Window && Plan() is { } plan)
            {
                await _group.SendAsync(plan, stopping);
                inFlight++;
            }
            if (inFlight > 0)
            {
                StepResult result = await _group.ReceiveAsync(stopping);
                inFlight--;
                if (Apply(result) is { } masks)
                    await _group.SendMasksAsync(masks, stopping);
                continue;
            }
            if (_group.WantsMove != MoveWish.None && await MoveAsync())
                return;
            if (pauses)
                continue;
            CheckBooks();
            if (_group.WantsRestore)
            {
                await _group.RestoreAsync(); // nothing runs: the pause costs nobody anything
                return;
            }
            await _work.WaitAsync(s_housekeeping, stopping); // now and then it looks whether the group wants all its ranks back
            if ((await _group.WaitReadyAsync(stopping)).Epoch != life.Epoch)
                return;
        }
    }

    /// <summary>Lets the group change its split, where that is worth computing anew what runs.</summary>
    private Task<bool> MoveAsync()
    {
        EngineLoad load = Load();
        return _group.MoveAsync(load.UsedBlocks, _pace.CatchUp((long)load.UsedBlocks * load.BlockTokens));
    }

    private async IAsyncEnumerable<GenerationEvent> ReadAsync(Func<ActiveRequest> enter, [EnumeratorCancellation] CancellationToken cancellation)
    {
        ActiveRequest active = enter(); // counts this reader under the lock, so that nobody forgets the request meanwhile
        try
        {
            await foreach (GenerationEvent happened in active.Events.ReadAsync(cancellation))
                yield return happened;
        }
        finally
        {
            Leave(active);
        }
    }

    private ActiveRequest Add(ValidatedRequest request, bool resumable, object? presentation)
    {
        ActiveRequest active = new(request, _tokenizer, _clock, resumable, _metrics) { Presentation = presentation };
        Sequence[] sequences = [.. active.Outputs.Select(output => output.Sequence)];
        lock (_gate)
        {
            RequireService();
            ForgetLeft(request);
            if (_active.ContainsKey(request.RequestId) || _resumable.Find(request.RequestId) is { } others && others.Request.Owner?.Name != request.Owner?.Name)
                throw new RequestRejectedException(
                    StatusCode.AlreadyExists, "REQUEST_ID_IN_USE", $"Request '{request.RequestId}' is in flight already.", "request_id", request.RequestId);
            if (sequences.FirstOrDefault(sequence => !_scheduler.CanEverFit(sequence)) is { } misfit)
                throw DoesNotFit(misfit);
            if (request.Deadline is { } due && Lateness(_scheduler.WaitingTokens + request.PromptTokens.Count, due) is { } late)
                throw late;
            if (request.Lora is { } lora && !_loras.TryUse(lora))
                throw LoraRegistry.NotFound(lora.Name);
            try
            {
                _scheduler.Add(sequences);
            }
            catch when (request.Lora is not null)
            {
                _loras.Release(request.Lora);
                throw;
            }
            _active.Add(request.RequestId, active);
            if (resumable)
                _resumable.Add(active);
            foreach (ActiveOutput output in active.Outputs)
                _outputs.Add(output.Sequence, output);
            if (request.Deadline is { } deadline)
                StartDeadline(active, deadline - _clock.GetUtcNow());
            active.Readers++;
            Wake();
        }
        request.Owner?.Charge(request.PromptTokens.Count);
        EngineLog.Accepted(_log, request.RequestId, request.PromptTokens.Count, request.Outputs, request.Stopping.MaxTokens);
        return active;
    }

    private void StartDeadline(ActiveRequest active, TimeSpan rest)
    {
        if (rest < s_longestTimer)
            active.DeadlineTimer = _clock.CreateTimer(
                _ => Expire(active), null, rest > TimeSpan.Zero ? rest : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
    }

    private void Expire(ActiveRequest active)
    {
        lock (_gate)
            Fail(active, new DeadlineExceededException(
                $"The deadline came after {active.Elapsed.TotalSeconds:F3} s, before the request had finished."));
    }

    /// <summary>Ends a request wherever it is; nothing where it has ended already.</summary>
    private void Fail(ActiveRequest active, Exception? failure)
    {
        if (active.Ended)
            return;
        foreach (ActiveOutput output in active.Outputs)
            _scheduler.Abort(output.Sequence);
        active.End(failure);
        if (failure is not null)
            EngineLog.Ended(_log, active.Request.RequestId, failure.Message);
        Retire(active);
        Wake(); // its blocks may let the queue move
    }

    private void FailAll(Func<Exception> failure)
    {
        lock (_gate)
            foreach (ActiveRequest active in _active.Values.ToArray())
                Fail(active, failure());
    }

    private void Retire(ActiveRequest active)
    {
        if (_active.Remove(active.Request.RequestId) && active.Request.Lora is { } lora)
            _loras.Release(lora);
        foreach (ActiveOutput output in active.Outputs)
            _outputs.Remove(output.Sequence);
        if (_active.Count == 0 && _refusing is not null)
            _drained.TrySetResult();
    }

    private void Refuse(EngineUnavailableException reason)
    {
        lock (_gate)
        {
            _refusing ??= reason;
            foreach (ActiveRequest left in _active.Values.Where(active => active.Readers == 0 && active.IsResumable).ToArray())
                Forget(left);
            if (_active.Count == 0)
                _drained.TrySetResult();
        }
    }

    private void RequireService()
    {
        if (_refusing is not null)
            throw new EngineUnavailableException(_refusing.Reason, _refusing.Message);
        if (_group.State == GroupState.Broken)
            throw Unavailable(_group.Outage ?? "it cannot start");
    }

    private static EngineUnavailableException Unavailable(string why) => new("GROUP_UNAVAILABLE", $"The worker group is not available: {why}");

    private void StartLife(GroupLife life)
    {
        lock (_gate)
        {
            foreach (Sequence misfit in _scheduler.StartLife(life.Epoch, life.KvBlocks, life.BlockTokens))
                if (_outputs.TryGetValue(misfit, out ActiveOutput? output))
                    Fail(output.Request, DoesNotFit(misfit));
        }
        EngineLog.Ready(_log, life.Epoch, life.KvBlocks, life.BlockTokens);
    }

    private void LoseLife(WorkerLostException lost)
    {
        int went = 0;
        lock (_gate)
        {
            HashSet<ActiveRequest> ran = [.. _scheduler.Running.Select(sequence => _outputs[sequence].Request)];
            IReadOnlyList<Sequence> caught = _scheduler.EndLife();

            // Who killed it? A worker that fails by itself fails at what it computes: all of it is suspect, and from then on one begins at a time. So when it
            // happens again the one that has not yet come beyond that point is the cause. Deaths from outside prove nothing about requests.
            if (lost.Cause == LossCause.Worker)
            {
                if (caught.Where(sequence => sequence.Unproven).ToArray() is [{ } poison])
                    Fail(_outputs[poison].Request, new RequestFaultException("POISON_REQUEST", $"The workers failed twice at this request: {lost.Message}"));
                else
                    Scheduler.Suspect(caught);
            }
            foreach (ActiveRequest request in ran.Where(request => !request.Ended))
                if (request.Recoveries >= _settings.Recoveries)
                    Fail(request, new EngineUnavailableException("WORKER_LOST", $"The worker group was lost {request.Recoveries + 1} times while the request ran, the last time: {lost.Message}"));
                else
                    request.Recover(lost.Message);
            went = ran.Count(request => !request.Ended);
            _recoveries += went > 0 ? 1 : 0;
        }
        EngineLog.Lost(_log, lost.Message, went);
    }

    private StepPlan? Plan()
    {
        lock (_gate)
        {
            StepPlan? plan = _scheduler.Next(_pace.CatchUpTokens, _pace.LoneTokens(_settings.StepTimeout));
            if (plan is { NewSequences.Count: > 0 })
                foreach (Sequence sequence in _scheduler.Running)
                    _outputs[sequence].Request.Start();
            plan?.DroppedLoras.AddRange(_loras.TakeDropped()); // it forgets the last sequence on them, or an earlier one has
            return plan;
        }
    }

    /// <summary>Takes in a result. What the next step in flight waits for to sample by; null where it needs nothing.</summary>
    private StepMasks? Apply(StepResult result)
    {
        lock (_gate)
        {
            _steps++;
            (int singles, int others) = _scheduler.RowsInOldestStep();
            foreach (SequenceProgress progress in _scheduler.Apply(result))
                if (_outputs.TryGetValue(progress.Sequence, out ActiveOutput? output)) // else an output before it in this step has ended their request
                    Take(output, progress);
            _pace.Observe(singles, others, result.StepMicroseconds * 1e-6);
            if (_clock.GetElapsedTime(_kept) >= s_housekeeping)
                KeepHouse();
            return _scheduler.FollowingMasks();
        }
    }

    private void Take(ActiveOutput output, SequenceProgress progress)
    {
        _promptTokens += progress.ComputedPromptTokens;
        _generatedTokens += progress.Tokens.Count;
        if (progress.End == SequenceEnd.Fault)
        {
            Fail(output.Request, ActiveOutput.FaultOf(progress));
            return;
        }
        if (output.Take(progress))
            _scheduler.Abort(progress.Sequence);
        if (!output.Request.Ended)
            return;
        Retire(output.Request);
        EngineLog.Finished(_log, output.Request.Request.RequestId, output.Request.CompletionTokens, output.Request.Elapsed.TotalSeconds);
    }

    private void KeepHouse()
    {
        _kept = _clock.GetTimestamp();
        ShrinkResumable();
        long before = 0;
        foreach (Sequence sequence in _scheduler.Waiting.ToArray())
        {
            before += sequence.Tokens.Count;
            if (_outputs.TryGetValue(sequence, out ActiveOutput? output) && output.Request.Request.Deadline is { } deadline && Lateness(before, deadline) is { } late)
                Fail(output.Request, late);
        }
    }

    /// <summary>Why a request cannot be in time when so many tokens are computed before its first; null where it can, or nothing is measured yet.</summary>
    private DeadlineExceededException? Lateness(long tokens, DateTimeOffset deadline)
    {
        if (_pace.CatchUpTokensPerSecond is not { } rate)
            return null;
        double needed = UncachedShare() * tokens / rate, rest = (deadline - _clock.GetUtcNow()).TotalSeconds;
        return needed <= rest ? null : new DeadlineExceededException(rest <= 0 ? "The deadline came before the request could begin." :
            FormattableString.Invariant($"The deadline in {rest:F1} s cannot be met: {tokens} tokens come before the first answer, which takes {needed:F1} s at {rate:F0} tokens/s."));
    }

    /// <summary>The share of tokens looked up in the prefix cache that had to be computed all the same.</summary>
    private double UncachedShare() => _scheduler.CacheTokens is { Asked: > 0 } tokens ? 1 - (double)tokens.Found / tokens.Asked : 1;

    /// <summary>Nothing runs: every block must be free. Cheap, and so done in Release too.</summary>
    private void CheckBooks()
    {
        string? imbalance;
        lock (_gate)
        {
            imbalance = _scheduler.Imbalance();
            if (imbalance is not null)
                _scheduler.ResetBlocks();
        }
        if (imbalance is not null)
            EngineLog.Imbalance(_log, imbalance);
    }

    private RequestRejectedException DoesNotFit(Sequence sequence) => new(
        StatusCode.InvalidArgument, "KV_CACHE_EXCEEDED",
        $"Prompt and 'max_tokens' need a cache of {sequence.MaxComputedTokens} tokens; the KV cache holds {(long)_scheduler.TotalBlocks * _scheduler.BlockTokens}.",
        "max_tokens", $"{sequence.Spec.MaxNewTokens}", $"{(long)_scheduler.TotalBlocks * _scheduler.BlockTokens} tokens in all");

    private void Wake()
    {
        if (_work.CurrentCount == 0)
            _work.Release();
    }
}
