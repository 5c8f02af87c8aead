using TpServe.Gateway.Requests;
using TpServe.Gateway.Scheduling;
using TpServe.Gateway.Telemetry;
using TpServe.Protos.Worker;
using TpServe.Tokenization;

namespace TpServe.Gateway.Engine;

/// <summary>A request in flight: its outputs, their sequences (which hold the token log), and the events its client has yet to read.</summary>
/// <remarks>Threads  everything but <see cref="Events"/> only under the engine's lock.</remarks>
internal sealed class ActiveRequest
{
    private readonly TimeProvider _clock;
    private readonly long _arrived;
    private readonly ServingMetrics? _metrics;
    private readonly RequestTrace? _trace;
    private readonly List<ReportedToken> _promptTokens = [];
    private long? _started, _firstToken;
    private int _open;

    public ActiveRequest(ValidatedRequest request, Tokenizer tokenizer, TimeProvider clock, bool resumable, ServingMetrics? metrics = null)
    {
        Request = request;
        _clock = clock;
        _metrics = metrics;
        _trace = metrics?.Trace(request);
        _arrived = clock.GetTimestamp();
        _open = request.Outputs;
        Events = new EventLog(resumable);
        IsResumable = resumable;
        ActiveOutput[] outputs = new ActiveOutput[request.Outputs];
        for (int index = 0; index < outputs.Length; index++)
            outputs[index] = new ActiveOutput(
                this, index, new OutputText(tokenizer, request), new Sequence(Spec(request, index), leader: index > 0 && request.Embedding is null ? outputs[0].Sequence : null));
        Outputs = outputs;
    }

    /// <summary>What was asked for.</summary>
    public ValidatedRequest Request { get; }

    /// <summary>By index.</summary>
    public IReadOnlyList<ActiveOutput> Outputs { get; }

    /// <summary>For the client's side.</summary>
    public EventLog Events { get; }

    /// <summary>What its first reader needed to present its events; whoever resumes them needs it too.</summary>
    public object? Presentation { get; init; }

    /// <summary>A client that lost its connection may come back to it.</summary>
    public bool IsResumable { get; private set; }

    /// <summary>Clients that read its events: 1, or 0 where it left; for a moment 2 where another takes over.</summary>
    public int Readers { get; set; }

    /// <summary>Ends the request when its deadline comes.</summary>
    public ITimer? DeadlineTimer { get; set; }

    /// <summary>Forgets the request where nobody has come back to it.</summary>
    public ITimer? ResumeTimer { get; set; }

    /// <summary>Times the group was lost while it ran.</summary>
    public int Recoveries { get; private set; }

    /// <summary>Nothing more will happen to it.</summary>
    public bool Ended { get; private set; }

    /// <summary>Whether each token is reported, and not only text.</summary>
    public bool ReportsTokens => Request.ReturnTokenIds || Request.Logprobs is not null;

    /// <summary>Tokens of all outputs so far.</summary>
    public int CompletionTokens { get; private set; }

    /// <summary>Time since arrival.</summary>
    public TimeSpan Elapsed => _clock.GetElapsedTime(_arrived);

    /// <summary>The first of its sequences has left the queue.</summary>
    public void Start()
    {
        if (_started is not null)
            return;
        _started = _clock.GetTimestamp();
        _trace?.Started();
        Events.Append(new StartedEvent(CachedTokens));
    }

    /// <summary>The group was lost while it ran.</summary>
    public void Recover(string reason)
    {
        Recoveries++;
        Events.Append(new RecoveringEvent(reason));
    }

    /// <summary>Nobody can come back to it any more.</summary>
    public void StopKeeping()
    {
        IsResumable = false;
        Events.StopKeeping();
    }

    /// <summary>Keeps the prompt's logprobs until the whole prompt is computed.</summary>
    public void AddPromptLogprobs(IReadOnlyList<Protos.Worker.TokenLogprobs> logprobs)
    {
        foreach (Protos.Worker.TokenLogprobs logprob in logprobs)
            _promptTokens.Add(new ReportedToken(Request.PromptTokens[_promptTokens.Count], _promptTokens.Count == 0 ? null : logprob));
    }

    /// <summary>New text and tokens of one output; with what is known of the prompt, once.</summary>
    public void Post(int outputIndex, string text, IReadOnlyList<ReportedToken> tokens)
    {
        IReadOnlyList<ReportedToken> prompt = [];
        if (outputIndex == 0 && _promptTokens.Count > 0)
        {
            prompt = [.. _promptTokens];
            _promptTokens.Clear();
        }
        if (text.Length > 0 || tokens.Count > 0 || prompt.Count > 0)
            Events.Append(new DeltaEvent(outputIndex, text, tokens, prompt));
    }

    /// <summary>A token has come, for the timings.</summary>
    public void CountToken()
    {
        CompletionTokens++;
        Request.Owner?.Charge(1);
        if (_firstToken is not null)
            return;
        _firstToken = _clock.GetTimestamp();
        _metrics?.FirstToken(_clock.GetElapsedTime(_arrived, _firstToken.Value));
    }

    /// <summary>A step has brought an output so many tokens: now, and before that at the moment given. Returns now.</summary>
    public long CountStep(long? before, int tokens)
    {
        long now = _clock.GetTimestamp();
        if (before is { } last)
            _metrics?.Tokens(_clock.GetElapsedTime(last, now), tokens);
        return now;
    }

    /// <summary>One output has ended; with the last one the request has.</summary>
    public void Finish(int outputIndex, EndReason reason, string? stopString, int? stopTokenId, int completionTokens, IReadOnlyList<int> tokenStarts)
    {
        _metrics?.Finished(reason);
        _trace?.Finished(reason);
        RequestTotals? totals = --_open == 0 ? Totals() : null;
        Events.Append(new FinishedEvent(outputIndex, reason, stopString, stopTokenId, completionTokens, totals) { TokenStarts = tokenStarts });
        if (totals is null)
            return;
        _metrics?.Answered(totals);
        End(null);
    }

    /// <summary>The request ends here: after the events written so far its client sees the exception, or the end where there is none.</summary>
    public void End(Exception? failure)
    {
        Ended = true;
        if (_open > 0)
            _metrics?.Failed(failure);
        _trace?.Ended(Totals(), failure);
        DeadlineTimer?.Dispose();
        Events.Complete(failure);
    }

    private int CachedTokens => Request.Embedding is null
        ? Math.Min(Outputs[0].Sequence.CachedTokens, Request.PromptTokens.Count)
        : Outputs.Sum(output => output.Sequence.CachedTokens);

    private RequestTotals Totals()
    {
        long now = _clock.GetTimestamp();
        long started = _started ?? now, first = _firstToken ?? now;
        return new RequestTotals(
            Request.PromptTokens.Count, CompletionTokens, CachedTokens,
            _clock.GetElapsedTime(_arrived, started), _clock.GetElapsedTime(started, first), _clock.GetElapsedTime(first, now),
            _clock.GetElapsedTime(_arrived, now));
    }

    private static SequenceSpec Spec(ValidatedRequest request, int index) => new()
    {
        Prompt = request.Embedding?.Inputs[index] ?? request.PromptTokens,
        MaxNewTokens = request.Stopping.MaxTokens,
        Sampling = request.SamplingOf(index),
        EndTokens = request.Stopping.EndTokenIds,
        TopLogprobs = request.Logprobs ?? -1,
        PromptLogprobs = index == 0 ? request.PromptLogprobs ?? -1 : -1, // the same for every output
        Priority = request.Priority,
        CacheSalt = request.CacheSalt,
        LoraId = request.Lora?.Id ?? 0,
        BypassCache = request.BypassCache,
        DraftTokens = request.Constraint is null ? request.DraftTokens : 0,
        Constraint = request.Constraint,
        LooksUp = request.LooksUp,
        Pooling = request.Embedding?.Pooling ?? Pooling.Unspecified,
        SharesPlace = request.Embedding is not null && index > 0,
    };
}
