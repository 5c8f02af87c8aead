using System.Threading.Channels;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Scheduling;
using TpServe.Tokenization;

namespace TpServe.Gateway.Engine;

/// <summary>A request in flight: its outputs, their sequences (which hold the token log), and the events its client has yet to read.</summary>
/// <remarks>
/// The channel is bounded by the most events the request can ever have, so writing never waits: a client that reads slowly holds only its own
/// events, never a row or a block.
/// Threads  everything but Events only under the engine's lock.
/// </remarks>
internal sealed class ActiveRequest
{
    private readonly Channel<GenerationEvent> _events;
    private readonly TimeProvider _clock;
    private readonly long _arrived;
    private readonly List<ReportedToken> _promptTokens = [];
    private long? _started, _firstToken;
    private int _open;

    public ActiveRequest(ValidatedRequest request, Tokenizer tokenizer, TimeProvider clock, Func<SequenceId> nextId)
    {
        Request = request;
        _clock = clock;
        _arrived = clock.GetTimestamp();
        _open = request.Outputs;
        Outputs = [.. Enumerable.Range(0, request.Outputs).Select(index => new ActiveOutput(
            this, index, new OutputText(tokenizer, request), new Sequence(nextId(), Spec(request, index))))];
        long most = 1 + request.Outputs * (2L + Math.Max(1, request.Stopping.MaxTokens));
        _events = Channel.CreateBounded<GenerationEvent>(new BoundedChannelOptions((int)Math.Min(most, int.MaxValue)) { SingleReader = true });
    }

    /// <summary>What was asked for.</summary>
    public ValidatedRequest Request { get; }

    /// <summary>By index.</summary>
    public IReadOnlyList<ActiveOutput> Outputs { get; }

    /// <summary>For the client's side.</summary>
    public ChannelReader<GenerationEvent> Events => _events.Reader;

    /// <summary>Ends the request when its deadline comes.</summary>
    public ITimer? DeadlineTimer { get; set; }

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
        Post(new StartedEvent(CachedTokens: 0));
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
            Post(new DeltaEvent(outputIndex, text, tokens, prompt));
    }

    /// <summary>A token has come, for the timings.</summary>
    public void CountToken()
    {
        CompletionTokens++;
        _firstToken ??= _clock.GetTimestamp();
    }

    /// <summary>One output has ended; with the last one the request has.</summary>
    public void Finish(int outputIndex, EndReason reason, string? stopString, int? stopTokenId, int completionTokens)
    {
        bool last = --_open == 0;
        Post(new FinishedEvent(outputIndex, reason, stopString, stopTokenId, completionTokens, last ? Totals() : null));
        if (last)
            End(null);
    }

    /// <summary>The request ends here: after the events written so far its client sees the exception, or the end where there is none.</summary>
    public void End(Exception? failure)
    {
        Ended = true;
        DeadlineTimer?.Dispose();
        _events.Writer.TryComplete(failure);
    }

    private RequestTotals Totals()
    {
        long now = _clock.GetTimestamp();
        long started = _started ?? now, first = _firstToken ?? now;
        return new RequestTotals(
            Request.PromptTokens.Count, CompletionTokens, CachedTokens: 0,
            _clock.GetElapsedTime(_arrived, started), _clock.GetElapsedTime(started, first), _clock.GetElapsedTime(first, now),
            _clock.GetElapsedTime(_arrived, now));
    }

    private void Post(GenerationEvent happened)
    {
        if (!_events.Writer.TryWrite(happened))
            throw new InvalidOperationException($"Request {Request.RequestId} has more events than its channel was made for.");
    }

    private static SequenceSpec Spec(ValidatedRequest request, int index) => new()
    {
        Prompt = request.PromptTokens,
        MaxNewTokens = request.Stopping.MaxTokens,
        Sampling = request.SamplingOf(index),
        EndTokens = request.Stopping.EndTokenIds,
        TopLogprobs = request.Logprobs ?? -1,
        PromptLogprobs = index == 0 ? request.PromptLogprobs ?? -1 : -1, // the same for every output
    };
}
