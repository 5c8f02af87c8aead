using System.Runtime.CompilerServices;
using Grpc.Core;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Scheduling;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;
using TpServe.Tokenization;

namespace TpServe.Gateway.Engine;

/// <summary>The one loop: what the scheduler plans runs on the worker group, what comes back becomes each request's events.</summary>
/// <remarks>
/// The loop (<see cref="RunAsync"/>), once for each life of the group:
///   1. wait until the group is ready; requests queue up meanwhile;
///   2. plan a step; where there is nothing to do, sleep until a request comes;
///   3. run it on every rank;
///   4. hand each sequence's progress to its output: text, stop strings, events;
///   5. where the group is lost, requests that ran end UNAVAILABLE at once, those still queued wait for the next life.
/// Step k + 1 can be planned while step k runs: decode rows carry no token ids, and the scheduler plans from planned counts.
/// Threads  one lock guards scheduler and requests and is never held across an await. Arrivals, departures and deadlines take it directly, so they
///          take effect while a step runs.
/// </remarks>
public sealed class InferenceEngine : IDisposable
{
    private static readonly TimeSpan s_longestTimer = TimeSpan.FromDays(40); // timers hold no more than 2³² ms

    private readonly IWorkerGroup _group;
    private readonly Tokenizer _tokenizer;
    private readonly TimeProvider _clock;
    private readonly ILogger<InferenceEngine> _log;
    private readonly Lock _gate = new();
    private readonly Scheduler _scheduler;
    private readonly Dictionary<string, ActiveRequest> _active = [];
    private readonly Dictionary<ulong, ActiveOutput> _outputs = [];
    private readonly SemaphoreSlim _work = new(0, 1); // released when there may be something to plan
    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private EngineUnavailableException? _refusing; // set once: no new requests
    private ulong _lastSequence;
    private long _steps, _generatedTokens, _promptTokens;

    public InferenceEngine(
        IWorkerGroup group, Tokenizer tokenizer, SchedulerSettings settings, TimeProvider clock, ILogger<InferenceEngine> log)
    {
        _group = group;
        _tokenizer = tokenizer;
        _clock = clock;
        _log = log;
        _scheduler = new Scheduler(settings);
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
                UsedBlocks = _scheduler.UsedBlocks,
                TotalBlocks = _scheduler.TotalBlocks,
                BlockTokens = _scheduler.BlockTokens,
                Steps = _steps,
                GeneratedTokens = _generatedTokens,
                PromptTokens = _promptTokens,
                Draining = _refusing is not null,
            };
    }

    /// <summary>Runs a request; its events as they happen. Leaving the enumeration, or cancelling, frees what it holds before the next step.</summary>
    /// <remarks>
    /// Errors   <see cref="QueueFullException"/> and <see cref="RequestRejectedException"/> before the first event;
    ///          <see cref="EngineUnavailableException"/> and <see cref="DeadlineExceededException"/> at any time.
    /// </remarks>
    public async IAsyncEnumerable<GenerationEvent> GenerateAsync(
        ValidatedRequest request, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        ActiveRequest active = Add(request);
        try
        {
            await foreach (GenerationEvent happened in active.Events.ReadAllAsync(cancellation))
                yield return happened;
        }
        finally
        {
            Leave(active);
        }
    }

    /// <summary>Ends a request's outputs as aborted. False where no such request is in flight.</summary>
    public bool Abort(string requestId)
    {
        lock (_gate)
        {
            if (!_active.TryGetValue(requestId, out ActiveRequest? active))
                return false;
            foreach (ActiveOutput output in active.Outputs)
                if (!output.Finished)
                {
                    _scheduler.Abort(output.Sequence);
                    output.Abort();
                }
            EngineLog.Ended(_log, requestId, "aborted by an operator");
            Retire(active);
            Wake();
            return true;
        }
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
                try
                {
                    GroupLife life = await _group.WaitReadyAsync(stopping);
                    StartLife(life);
                    await RunLifeAsync(life, stopping);
                    LoseLife(null);
                }
                catch (WorkerLostException lost)
                {
                    LoseLife(lost);
                }
                catch (GroupUnavailableException broken)
                {
                    LoseLife(null);
                    FailAll(() => new EngineUnavailableException("WORKER_LOST", broken.Message));
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

    /// <summary>Returns when the group turns out to have begun another life while there was nothing to do.</summary>
    private async Task RunLifeAsync(GroupLife life, CancellationToken stopping)
    {
        while (true)
        {
            StepPlan? plan = Plan();
            if (plan is null)
            {
                await _work.WaitAsync(stopping);
                if ((await _group.WaitReadyAsync(stopping)).Epoch != life.Epoch)
                    return;
                continue;
            }
            await _group.SendAsync(plan, stopping);
            StepResult result = await _group.ReceiveAsync(stopping);
            Apply(result);
        }
    }

    private ActiveRequest Add(ValidatedRequest request)
    {
        ActiveRequest active = new(request, _tokenizer, _clock, () => new SequenceId(Interlocked.Increment(ref _lastSequence)));
        Sequence[] sequences = [.. active.Outputs.Select(output => output.Sequence)];
        lock (_gate)
        {
            if (_refusing is not null)
                throw new EngineUnavailableException(_refusing.Reason, _refusing.Message);
            if (_active.ContainsKey(request.RequestId))
                throw new RequestRejectedException(
                    StatusCode.AlreadyExists, "REQUEST_ID_IN_USE", $"Request '{request.RequestId}' is in flight already.", "request_id", request.RequestId);
            if (!_scheduler.CanEverFit(sequences[0]))
                throw DoesNotFit(sequences[0]);
            _scheduler.Add(sequences);
            _active.Add(request.RequestId, active);
            foreach (ActiveOutput output in active.Outputs)
                _outputs.Add(output.Sequence.Id.Value, output);
            if (request.Deadline is { } deadline)
                StartDeadline(active, deadline - _clock.GetUtcNow());
            EngineLog.Accepted(_log, request.RequestId, request.PromptTokens.Count, request.Outputs, request.Stopping.MaxTokens);
            Wake();
            return active;
        }
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

    private void Leave(ActiveRequest active)
    {
        lock (_gate)
        {
            if (!active.Ended)
                EngineLog.Left(_log, active.Request.RequestId, active.Elapsed.TotalSeconds);
            Fail(active, null);
        }
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
        _active.Remove(active.Request.RequestId);
        foreach (ActiveOutput output in active.Outputs)
            _outputs.Remove(output.Sequence.Id.Value);
        if (_active.Count == 0 && _refusing is not null)
            _drained.TrySetResult();
    }

    private void Refuse(EngineUnavailableException reason)
    {
        lock (_gate)
        {
            _refusing ??= reason;
            if (_active.Count == 0)
                _drained.TrySetResult();
        }
    }

    private void StartLife(GroupLife life)
    {
        lock (_gate)
        {
            foreach (Sequence misfit in _scheduler.StartLife(life.Epoch, life.KvBlocks, life.BlockTokens))
                if (_outputs.TryGetValue(misfit.Id.Value, out ActiveOutput? output))
                    Fail(output.Request, DoesNotFit(misfit));
        }
        EngineLog.Ready(_log, life.Epoch, life.KvBlocks, life.BlockTokens);
    }

    private void LoseLife(WorkerLostException? lost)
    {
        lock (_gate)
        {
            IReadOnlyList<Sequence> ran = _scheduler.EndLife();
            if (lost is not null)
                EngineLog.Lost(_log, lost.Message, ran.Count);
            foreach (Sequence sequence in ran)
                if (_outputs.TryGetValue(sequence.Id.Value, out ActiveOutput? output))
                    Fail(output.Request, new EngineUnavailableException("WORKER_LOST", $"The worker group was lost: {lost?.Message ?? "it began anew"}"));
        }
    }

    private StepPlan? Plan()
    {
        lock (_gate)
        {
            StepPlan? plan = _scheduler.Next();
            foreach (NewSequence started in plan?.NewSequences ?? [])
                _outputs[started.SequenceId].Request.Start();
            return plan;
        }
    }

    private void Apply(StepResult result)
    {
        lock (_gate)
        {
            _steps++;
            foreach (SequenceProgress progress in _scheduler.Apply(result))
            {
                _promptTokens += progress.ComputedPromptTokens;
                if (progress.Token is not null)
                    _generatedTokens++;
                ActiveOutput output = _outputs[progress.Sequence.Id.Value];
                if (output.Take(progress))
                    _scheduler.Abort(progress.Sequence);
                if (output.Request.Ended)
                {
                    Retire(output.Request);
                    EngineLog.Finished(_log, output.Request.Request.RequestId, output.Request.CompletionTokens, output.Request.Elapsed.TotalSeconds);
                }
            }
        }
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
