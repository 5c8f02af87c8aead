using System.Globalization;
using TpServe.Gateway.Reports.Inputs;
using TpServe.Gateway.Reports.Statistics;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports.Measuring;

/// <summary>What one group gave beside its figures.</summary>
/// <param name="Variant">The figures.</param>
/// <param name="Answers">For comparison; empty where it is a baseline.</param>
/// <param name="Text">Logprobs of the text.</param>
/// <param name="Eval">On the questions; null where none were asked.</param>
internal sealed record VariantOutcome(ReportVariant Variant, IReadOnlyList<OutputRecord> Answers, IReadOnlyList<PositionLogprobs> Text, ReportEval? Eval);

/// <summary>Measures one group of workers on a server of its own.</summary>
internal sealed class VariantRun(ReportOrder order, Action<string> progress)
{
    private const int LeastRequests = 6, MostRequests = 24, WarmUpTokens = 16;
    private static readonly TimeSpan s_latency = TimeSpan.FromSeconds(8);

    /// <summary>1. start, 2. warm up, 3. one request at a time, 4. streams, 5. outputs, 6. memory.</summary>
    /// <param name="spec">Which group.</param>
    /// <param name="prepare">Called once the server is ready: the text's tokens.</param>
    /// <param name="first">Whether it is the one whose quality is looked at.</param>
    /// <param name="cancellation">Ends it early; the server ends too.</param>
    /// <exception cref="MeasurementException">The server does not start, or is lost.</exception>
    public async Task<VariantOutcome> RunAsync(VariantSpec spec, Func<ServerClient, Task<TextTokens>> prepare, bool first, CancellationToken cancellation)
    {
        // 1. The memory is read while no server computes, here and twice more: a shared host's memory is not the same a second later.
        int resources = spec.Threads > 0 ? VariantSpec.ThreadsOf(spec.Degree, spec.Threads, order.Cores) : VariantSpec.ThreadsOf(spec.Degree, order.Threads, order.Cores);
        double read = StreamingRead.Measure(resources);
        await using MeasuredServer server = await MeasuredServer.StartAsync([.. order.ServerFlags, .. spec.Flags], order.ReadyTimeout, cancellation);
        using ServerClient client = new(server.Grpc);
        TextTokens text = await prepare(client);
        GetTopologyResponse topology = await client.TopologyAsync(cancellation);
        progress(Say($"{spec.Name}: ready after {server.ReadyAfter.TotalSeconds:F1} s"));
        string[] gpus = [.. topology.Ranks.Select(rank => rank.Device).Where(device => device.StartsWith("cuda:", StringComparison.Ordinal)).Distinct()];
        ReportVariant variant = new()
        {
            Name = spec.Name,
            Degree = spec.Degree,
            Partition = spec.Partition,
            Wire = spec.Wire,
            Baseline = spec.IsBaseline,
            Resources = gpus.Length > 0 ? gpus.Length : resources,
            Resource = gpus.Length > 0 ? "GPUs" : "threads",
            ReadySeconds = server.ReadyAfter.TotalSeconds,
        };

        // 2. The questions are part of it: one that does not fit is told before minutes of measuring.
        ReportEval? eval = first && order.Eval.Count > 0 ? await OutputRun.EvaluateAsync(client, order.Eval, order.EvalSource, text.MaxModelLen, cancellation) : null;
        await client.StreamAsync(order.Prompts[0].Text, WarmUpTokens, new RequestTimes(0), null, cancellation);
        await client.StreamAsync(order.Prompts.MaxBy(prompt => prompt.Text.Length)!.Text, WarmUpTokens, new RequestTimes(0), null, cancellation);

        // 3.
        if (!spec.IsBaseline)
        {
            await MeasureLatencyAsync(client, variant, cancellation);
            read = Math.Max(read, gpus.Length > 0 ? 0 : StreamingRead.Measure(resources));
            progress(Say($"{spec.Name}: time to first token {variant.Ttft?.P50 ?? 0:F0} ms, then {variant.Tpot?.P50 ?? 0:F1} ms a token"));
        }

        // 4.
        variant.Loads.AddRange(await MeasureLoadsAsync(spec.Name, server, client, topology, variant.Resources, cancellation));
        if (gpus.Length == 0)
        {
            read = Math.Max(read, StreamingRead.Measure(resources));
            variant.ReadBytesPerSecond = read;
            if (!order.HasDraft)
                variant.WeightBytesPerToken = topology.Ranks.Sum(rank => rank.WeightBytes) - order.UnreadBytes;
            double? gap = variant.Itl?.P50 ?? variant.Loads.FirstOrDefault(load => load.Streams == 1)?.Itl?.P50;
            if (gap > 0 && variant.HasWeightBytesPerToken)
                variant.RooflineShare = LoadFigures.RooflineShare(variant.WeightBytesPerToken, gap.Value, read);
        }

        // 5.
        IReadOnlyList<OutputRecord> answers = [];
        IReadOnlyList<PositionLogprobs> scores = [];
        if (!spec.IsBaseline)
        {
            answers = await OutputRun.AnswersAsync(client, order.Prompts, cancellation);
            scores = await OutputRun.ScoreTextAsync(client, text.Tokens, text.Window, (first && order.Reference) || order.Variants.Any(other => other.IsRounded) ? OutputRun.MostTop : 0, cancellation);
            progress(Say($"{spec.Name}: perplexity {Likelihood.Perplexity([.. scores.Select(position => position.Logprob)]):F3}"));
        }

        // 6.
        variant.Ranks.AddRange((await client.TopologyAsync(cancellation)).Ranks.Select(Describe));
        return new VariantOutcome(variant, answers, scores, eval);
    }

    /// <summary>Throughput once more, on another server of the same group.</summary>
    /// <exception cref="MeasurementException">The server does not start, or is lost.</exception>
    public async Task<IReadOnlyList<ReportLoad>> RepeatAsync(VariantSpec spec, int resources, CancellationToken cancellation)
    {
        await using MeasuredServer server = await MeasuredServer.StartAsync([.. order.ServerFlags, .. spec.Flags], order.ReadyTimeout, cancellation);
        using ServerClient client = new(server.Grpc);
        GetTopologyResponse topology = await client.TopologyAsync(cancellation);
        await client.StreamAsync(order.Prompts.MaxBy(prompt => prompt.Text.Length)!.Text, WarmUpTokens, new RequestTimes(0), null, cancellation);
        return await MeasureLoadsAsync(spec.Name, server, client, topology, resources, cancellation);
    }

    /// <summary>Every number of streams on one server, so that its start is paid once.</summary>
    private async Task<IReadOnlyList<ReportLoad>> MeasureLoadsAsync(
        string name, MeasuredServer server, ServerClient client, GetTopologyResponse topology, int resources, CancellationToken cancellation)
    {
        List<ReportLoad> loads = [];
        int[] processes = [server.Id, .. topology.Ranks.Select(rank => rank.Pid)];
        foreach (int streams in order.Streams)
        {
            LoadSample sample = await LoadRun.RunAsync(client, processes, order.Prompts, order.OutputTokens, streams, order.Window, cancellation);
            loads.Add(LoadFigures.Of(sample, resources));
            progress(Say($"{name}: {streams} stream{(streams == 1 ? "" : "s")}: {loads[^1].TokensPerSecond:F1} tokens/s"));
        }
        return loads;
    }

    /// <summary>One request after the other: all prompts in turn, for a while, but no fewer than a few.</summary>
    private async Task MeasureLatencyAsync(ServerClient client, ReportVariant variant, CancellationToken cancellation)
    {
        List<RequestTimes> requests = [];
        double begin = ServerClient.Now();
        for (int i = 0; i < MostRequests && (i < LeastRequests || ServerClient.Now() - begin < s_latency.TotalSeconds); i++)
        {
            RequestTimes times = new(ServerClient.Now());
            await client.StreamAsync(order.Prompts[i % order.Prompts.Count].Text, order.OutputTokens, times, null, cancellation);
            requests.Add(times);
        }
        variant.Ttft = Distribution.OfSeconds(requests.Select(request => request.FirstToken).OfType<double>());
        variant.Tpot = Distribution.OfSeconds(requests.Select(request => request.PerToken).OfType<double>());
        variant.Itl = Distribution.OfSeconds(requests.SelectMany(request => request.Gaps));
    }

    private static ReportRank Describe(RankInfo rank)
    {
        ReportRank described = new()
        {
            Rank = rank.Rank,
            Device = rank.Device,
            Backend = rank.Backend,
            Transport = rank.Transport,
            AllReduceMicroseconds = rank.AllReduceMicroseconds,
            Heads = rank.Heads,
            KvHeads = rank.KvHeads,
            MlpLeaves = rank.MlpLeaves,
            VocabRows = rank.VocabRows,
            WeightBytes = rank.WeightBytes,
            KvBytes = rank.KvBytes,
            Collectives = { rank.Collectives },
            CollectiveTokens = rank.CollectiveTokens,
        };
        if (LoadRun.PeakBytes(rank.Pid) is { } peak)
            described.PeakResidentBytes = peak;
        return described;
    }

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

/// <summary>A text as the model reads it.</summary>
/// <param name="Tokens">Its tokens, no more than were asked for.</param>
/// <param name="Window">Tokens whose logprobs are taken at once.</param>
/// <param name="MaxModelLen">The context.</param>
internal sealed record TextTokens(int[] Tokens, int Window, int MaxModelLen);
