using System.Diagnostics.Metrics;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Telemetry;

/// <summary>How requests fare: counts and times, fed as they run.</summary>
/// <remarks>
/// Threads  any; the engine calls it under its lock, where a record is an addition or two and allocates nothing.
/// Source   vLLM's metrics, whose names and bucket bounds these are, so that dashboards made for it show this server with another prefix.
/// </remarks>
public sealed class ServingMetrics
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "tpserve";

    private const string Seconds = "s";

    private static readonly double[] s_firstTokenBounds = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560];
    private static readonly double[] s_tokenBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
    private static readonly double[] s_requestBounds = [0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];

    private readonly IWorkerGroup _group;
    private readonly KeyValuePair<string, object?> _model;
    private readonly Histogram<double> _firstToken, _interToken, _request, _queue, _prefill, _decode;
    private readonly Counter<long> _success, _failure;

    public ServingMetrics(IMeterFactory meters, ServingModel model, IWorkerGroup group)
    {
        ArgumentNullException.ThrowIfNull(meters);
        ArgumentNullException.ThrowIfNull(model);
        _group = group;
        ModelName = model.Name;
        _model = new("model_name", model.Name);
        Meter = meters.Create(MeterName);
        _firstToken = Times("tpserve.time_to_first_token", s_firstTokenBounds, "From arrival to the first token.");
        _interToken = Times("tpserve.inter_token_latency", s_tokenBounds, "From one token of an output to the next; those of one step share its time.");
        _request = Times("tpserve.e2e_request_latency", s_requestBounds, "From arrival to the last token, of requests that were answered.");
        _queue = Times("tpserve.request_queue_time", s_requestBounds, "From arrival to the first step.");
        _prefill = Times("tpserve.request_prefill_time", s_requestBounds, "From the first step to the first token.");
        _decode = Times("tpserve.request_decode_time", s_requestBounds, "From the first token to the last.");
        _success = Meter.CreateCounter<long>("tpserve.request_success", description: "Outputs that came to their end, by why.");
        _failure = Meter.CreateCounter<long>("tpserve.request_failure", description: "Requests that were taken in and not answered, by why.");
    }

    /// <summary>What all of it is measured by.</summary>
    public Meter Meter { get; }

    /// <summary>The served model's first name.</summary>
    public string ModelName { get; }

    /// <summary>The label of everything.</summary>
    public KeyValuePair<string, object?> Model => _model;

    /// <summary>Begins a request's spans; null where nobody listens.</summary>
    internal RequestTrace? Trace(ValidatedRequest request) => RequestTrace.Begin(request, ModelName, _group);

    /// <summary>A request's first token has come.</summary>
    public void FirstToken(TimeSpan sinceArrival) => _firstToken.Record(sinceArrival.TotalSeconds, _model);

    /// <summary>A step has brought an output so many tokens after the one before.</summary>
    public void Tokens(TimeSpan sinceLast, int count)
    {
        double each = sinceLast.TotalSeconds / count;
        for (int i = 0; i < count; i++)
            _interToken.Record(each, _model);
    }

    /// <summary>An output has ended.</summary>
    public void Finished(EndReason reason) => _success.Add(1, _model, reason switch
    {
        EndReason.Length => s_length,
        EndReason.Aborted => s_abort,
        _ => s_stop, // calls of tools end by a stop, too
    });

    /// <summary>A request has its answer.</summary>
    public void Answered(RequestTotals totals)
    {
        ArgumentNullException.ThrowIfNull(totals);
        _queue.Record(totals.Queue.TotalSeconds, _model);
        _prefill.Record(totals.Prefill.TotalSeconds, _model);
        _decode.Record(totals.Decode.TotalSeconds, _model);
        _request.Record(totals.Total.TotalSeconds, _model);
    }

    /// <summary>A request has ended without one.</summary>
    public void Failed(Exception? failure) => _failure.Add(1, _model, failure switch
    {
        null => s_left,
        DeadlineExceededException => s_deadline,
        EngineUnavailableException => s_unavailable,
        _ => s_fault,
    });

    private static readonly KeyValuePair<string, object?> s_stop = new("finished_reason", "stop"), s_length = new("finished_reason", "length"), s_abort = new("finished_reason", "abort");
    private static readonly KeyValuePair<string, object?> s_left = new("reason", "client_left"), s_deadline = new("reason", "deadline"), s_unavailable = new("reason", "unavailable"), s_fault = new("reason", "fault");

    private Histogram<double> Times(string name, double[] bounds, string description) =>
        Meter.CreateHistogram(name, Seconds, description, tags: null, advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = bounds });
}

/// <summary>What the engine and the group know at any moment, asked when somebody looks: the engine once, whose lock the steps need.</summary>
/// <remarks>
/// One look asks every instrument in the order in which they were made, so the first one takes the counts and the others read what it took: the figures of one scrape are of one moment.
/// Threads  collections may overlap (a scrape, a collector's exporter): each instrument then reads the latest counts, which are whole.
/// </remarks>
internal sealed class LoadMetrics
{
    private static readonly string[] s_kinds = ["compute", "collective", "wait", "idle"];

    private EngineLoad? _load;

    /// <summary>Makes the instruments.</summary>
    /// <param name="metrics">What they are measured by.</param>
    /// <param name="counts">The engine's, taken under its lock.</param>
    /// <param name="group">Whose state and times they show.</param>
    public LoadMetrics(ServingMetrics metrics, Func<EngineLoad> counts, IWorkerGroup group)
    {
        KeyValuePair<string, object?>[] model = [metrics.Model];
        metrics.Meter.CreateObservableGauge("tpserve.num_requests_running", () => new Measurement<double>(Look().RunningSequences, model), description: "Sequences in the running batch.");
        Gauge("num_requests_waiting", "Sequences in the queue.", load => load.WaitingSequences);
        Gauge("num_tokens_waiting", "Tokens that the sequences in the queue have to compute.", load => load.WaitingTokens);
        Gauge("kv_cache_usage_perc", "Share of the KV cache's blocks that sequences hold: 1 = all.", load => load.TotalBlocks == 0 ? 0 : (double)load.UsedBlocks / load.TotalBlocks);
        Count("prompt_tokens", "Prompt tokens computed.", load => load.PromptTokens);
        Count("generation_tokens", "Tokens sampled.", load => load.GeneratedTokens);
        Count("prefix_cache_queries", "Tokens looked up in the prefix cache.", load => load.CacheTokens.Asked);
        Count("prefix_cache_hits", "Tokens found in the prefix cache.", load => load.CacheTokens.Found);
        Count("num_preemptions", "Times a sequence gave its blocks up to a more urgent or an earlier one.", load => load.Preemptions);
        Count("recoveries", "Times the group was lost and requests went on after it.", load => load.Recoveries);
        Count("spec_decode_num_draft_tokens", "Tokens guessed ahead.", load => load.DraftTokens.Guessed);
        Count("spec_decode_num_accepted_tokens", "Tokens guessed ahead that were right.", load => load.DraftTokens.Right);
        Count("engine_steps", "Steps run.", load => load.Steps);
        metrics.Meter.CreateObservableGauge("tpserve.group_ready", () => new Measurement<int>(group.State == GroupState.Ready ? 1 : 0, model), description: "1 while the worker group can run steps.");
        metrics.Meter.CreateObservableCounter("tpserve.rank_time", () => RankTimes(group, metrics.Model), "s", "Where each rank's time went since its group began: arithmetic, collectives, what of those was waiting for a peer, and between steps.");

        EngineLoad Look()
        {
            EngineLoad load = counts();
            Volatile.Write(ref _load, load);
            return load;
        }

        void Gauge(string name, string description, Func<EngineLoad, double> value) =>
            metrics.Meter.CreateObservableGauge("tpserve." + name, () => new Measurement<double>(value(Volatile.Read(ref _load) ?? Look()), model), description: description);

        void Count(string name, string description, Func<EngineLoad, long> value) =>
            metrics.Meter.CreateObservableCounter("tpserve." + name, () => new Measurement<long>(value(Volatile.Read(ref _load) ?? Look()), model), description: description);
    }

    /// <summary>Compute, collective, wait and idle seconds of each rank.</summary>
    public static double[][] SecondsOf(IWorkerGroup group) =>
        [.. group.Topology().Ranks.Select(rank => new[] { rank.ComputeSeconds, rank.CollectiveSeconds, rank.WaitSeconds, rank.IdleSeconds })];

    /// <summary>What the columns of <see cref="SecondsOf"/> are called.</summary>
    public static IReadOnlyList<string> Kinds => s_kinds;

    private static IEnumerable<Measurement<double>> RankTimes(IWorkerGroup group, KeyValuePair<string, object?> model)
    {
        double[][] ranks = SecondsOf(group);
        for (int rank = 0; rank < ranks.Length; rank++)
            for (int kind = 0; kind < s_kinds.Length; kind++)
                yield return new Measurement<double>(ranks[rank][kind], model, new("rank", rank), new("kind", s_kinds[kind]));
    }
}
