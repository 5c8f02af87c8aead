using System.Diagnostics;
using System.Globalization;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;

namespace TpServe.Gateway.Telemetry;

/// <summary>One request's spans, under that of the call which brought it: the request, its time in the queue, prefill, decode, and each rank's share.</summary>
/// <remarks>
/// They are made when the request has ended, from times that are kept anyhow: a request that nobody traces costs one look. A rank's span is as long as the request ran and says
/// where the rank's time went meanwhile, for all requests of its steps together.
/// Source   OpenTelemetry's semantic conventions for generative AI, whose names the attributes have; none that holds content.
/// Threads  the engine's lock.
/// </remarks>
internal sealed class RequestTrace
{
    /// <summary>Name of the source.</summary>
    public const string SourceName = "tpserve";

    private static readonly ActivitySource s_source = new(SourceName);

    private readonly ValidatedRequest _request;
    private readonly string _model;
    private readonly IWorkerGroup _group;
    private readonly ActivityContext _parent;
    private readonly DateTime _arrived = DateTime.UtcNow;
    private readonly List<string> _reasons = [];
    private double[][] _ranks = [];

    private RequestTrace(ValidatedRequest request, string model, IWorkerGroup group, ActivityContext parent) =>
        (_request, _model, _group, _parent) = (request, model, group, parent);

    /// <summary>Begins to watch; null where nobody would see it.</summary>
    public static RequestTrace? Begin(ValidatedRequest request, string model, IWorkerGroup group) =>
        s_source.HasListeners() && Activity.Current is null or { Recorded: true } ? new RequestTrace(request, model, group, Activity.Current?.Context ?? default) : null;

    /// <summary>The request has left the queue.</summary>
    public void Started() => _ranks = LoadMetrics.SecondsOf(_group);

    /// <summary>An output has ended.</summary>
    public void Finished(EndReason reason) => _reasons.Add(reason.ToString().ToLowerInvariant());

    /// <summary>The request has ended.</summary>
    /// <param name="totals">Its times.</param>
    /// <param name="failure">Why it has no answer.</param>
    public void Ended(RequestTotals totals, Exception? failure)
    {
        string operation = _request.Embedding is null ? "generate_content" : "embeddings";
        using Activity? whole = s_source.StartActivity($"{operation} {_model}", ActivityKind.Internal, _parent, startTime: _arrived);
        if (whole is null)
            return;
        whole.SetTag("gen_ai.operation.name", operation);
        whole.SetTag("gen_ai.provider.name", "tpserve");
        whole.SetTag("gen_ai.request.model", _model);
        whole.SetTag("gen_ai.request.max_tokens", _request.Stopping.MaxTokens);
        whole.SetTag("gen_ai.request.choice.count", _request.Outputs);
        whole.SetTag("gen_ai.request.temperature", _request.Sampling.Temperature);
        whole.SetTag("gen_ai.request.top_p", _request.Sampling.TopP);
        whole.SetTag("gen_ai.response.id", _request.RequestId);
        whole.SetTag("gen_ai.response.finish_reasons", _reasons.ToArray());
        whole.SetTag("gen_ai.usage.input_tokens", totals.PromptTokens);
        whole.SetTag("gen_ai.usage.output_tokens", totals.CompletionTokens);
        whole.SetTag("tpserve.cached_tokens", totals.CachedTokens);
        if (failure is not null)
            whole.SetTag("error.type", failure.GetType().Name).SetStatus(ActivityStatusCode.Error);

        DateTime started = _arrived + totals.Queue, first = started + totals.Prefill, end = _arrived + totals.Total;
        Part(whole, "queue", _arrived, started);
        Part(whole, "prefill", started, first);
        Part(whole, "decode", first, end);
        double[][] now = LoadMetrics.SecondsOf(_group);
        for (int rank = 0; rank < now.Length && now.Length == _ranks.Length; rank++)
            if (s_source.StartActivity(string.Create(CultureInfo.InvariantCulture, $"rank {rank}"), ActivityKind.Internal, whole.Context, startTime: started) is { } span)
                using (span)
                {
                    span.SetTag("tpserve.rank", rank);
                    for (int kind = 0; kind < LoadMetrics.Kinds.Count; kind++)
                        span.SetTag($"tpserve.{LoadMetrics.Kinds[kind]}_seconds", Math.Max(0, now[rank][kind] - _ranks[rank][kind]));
                    span.SetEndTime(end);
                }
        whole.SetEndTime(end);
    }

    private static void Part(Activity whole, string name, DateTime from, DateTime to) =>
        s_source.StartActivity(name, ActivityKind.Internal, whole.Context, startTime: from)?.SetEndTime(to).Dispose();
}
