using System.Globalization;
using System.Runtime.InteropServices;
using Grpc.Core;
using TpServe.Gateway.Api;
using TpServe.Gateway.Reports.Inputs;
using TpServe.Gateway.Reports.Statistics;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports.Measuring;

/// <summary>Measures every group of an order, one after the other, and puts the report together.</summary>
internal sealed class ReportRun(ReportOrder order, Action<string> progress, TimeProvider time)
{
    private readonly List<string> _notes = [];
    private readonly VariantRun _variants = new(order, progress);
    private TextTokens? _text;
    private ModelInfo _model = new();
    private (int Least, int Most) _promptTokens;

    /// <summary>1. every group, 2. the baseline where one is needed, and further rounds, 3. the reference with activations of f32, 4. what compares them, 5. the sentence.</summary>
    /// <exception cref="InputFileException">A prompt or a question is longer than the context.</exception>
    /// <exception cref="MeasurementException">Not one group could be measured.</exception>
    public async Task<TpReport> RunAsync(CancellationToken cancellation)
    {
        DateTimeOffset begin = time.GetUtcNow();
        TpReport report = new() { Release = ServerClock.Version, Created = begin.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture) };

        // 1. A group that cannot be measured is told as such; the others go on.
        List<VariantOutcome> outcomes = [];
        foreach (VariantSpec spec in order.Variants)
            report.Variants.Add(await TryAsync(spec, outcomes, cancellation));
        if (outcomes.Count == 0)
            throw new MeasurementException(string.Join(" ", report.Variants.Select(variant => $"{variant.Name}: {variant.Fault}")));

        // 2. On GPUs every degree has resources of its own.
        ReportVariant first = outcomes[0].Variant;
        VariantSpec? baseline = first.Resource == "threads" && order.Threads.Values.All(count => count == 0) ? VariantSpec.Baseline(order.Variants, order.Cores) : null;
        if (baseline is not null)
            report.Variants.Add(await TryAsync(baseline, [], cancellation));
        await RepeatAsync([.. order.Variants, .. baseline is null ? (VariantSpec[])[] : [baseline]], report.Variants, cancellation);

        // 3.
        report.Quality = QualityOf(outcomes[0]);
        if (order.Reference && await ReferenceAsync(outcomes[0].Text, order.Variants.First(spec => spec.Name == first.Name), cancellation) is { } reference)
            report.Quality.Reference = reference;

        // 4.
        LoadFigures.Compare(report.Variants);
        CompareWires(outcomes);
        report.Equality = Compare([.. outcomes.Where(outcome => outcome.Variant.Wire == VariantSpec.ExactWire)]);

        // 5.
        report.Subject = new ReportSubject
        {
            Model = _model.Id,
            Architecture = _model.Architecture,
            Summary = order.ModelSummary,
            Cores = order.Cores,
            Device = first.Ranks[0].Device,
            System = RuntimeInformation.OSDescription,
        };
        report.Workload = WorkloadOf();
        report.Recommendation = Recommendation.Of(report.Variants, report.Equality);
        report.Notes.AddRange(_notes.Concat(NotesOn(report)));
        report.Seconds = (time.GetUtcNow() - begin).TotalSeconds;
        return report;
    }

    /// <summary>Further rounds, every other one backwards, so that a machine that grows slower or faster meanwhile does so to all.</summary>
    private async Task RepeatAsync(IReadOnlyList<VariantSpec> specs, IReadOnlyList<ReportVariant> variants, CancellationToken cancellation)
    {
        (VariantSpec Spec, ReportVariant Variant, List<IReadOnlyList<ReportLoad>> Rounds)[] all =
            [.. specs.Zip(variants, (spec, variant) => (spec, variant, new List<IReadOnlyList<ReportLoad>> { variant.Loads.ToArray() })).Where(one => one.variant.Fault.Length == 0)];
        for (int round = 2; round <= order.Rounds; round++)
            foreach ((VariantSpec spec, ReportVariant variant, List<IReadOnlyList<ReportLoad>> rounds) in round % 2 == 0 ? Enumerable.Reverse(all) : all)
                try
                {
                    rounds.Add(await _variants.RepeatAsync(spec, variant.Resources, cancellation));
                }
                catch (Exception fault) when (fault is MeasurementException or RpcException && !cancellation.IsCancellationRequested)
                {
                    _notes.Add(string.Create(CultureInfo.InvariantCulture, $"{spec.Name} was not measured in round {round}: {Reason(fault)}"));
                }
        foreach ((_, ReportVariant variant, List<IReadOnlyList<ReportLoad>> rounds) in all)
        {
            IReadOnlyList<ReportLoad> merged = LoadFigures.Merge(rounds);
            variant.Loads.Clear();
            variant.Loads.AddRange(merged);
        }
    }

    private async Task<ReportVariant> TryAsync(VariantSpec spec, List<VariantOutcome> outcomes, CancellationToken cancellation)
    {
        try
        {
            VariantOutcome outcome = await _variants.RunAsync(spec, client => PrepareAsync(client, cancellation), first: outcomes.Count == 0, cancellation);
            outcomes.Add(outcome);
            return outcome.Variant;
        }
        catch (Exception fault) when (fault is MeasurementException or RpcException && !cancellation.IsCancellationRequested)
        {
            progress($"{spec.Name}: not measured: {Reason(fault)}");
            return new ReportVariant { Name = spec.Name, Degree = spec.Degree, Partition = spec.Partition, Wire = spec.Wire, Baseline = spec.IsBaseline, Fault = Reason(fault) };
        }
    }

    /// <summary>By the first server that is ready: whether every prompt fits, and the text's tokens.</summary>
    private async Task<TextTokens> PrepareAsync(ServerClient client, CancellationToken cancellation)
    {
        if (_text is not null)
            return _text;
        _model = await client.ModelAsync(cancellation);
        int[] lengths = new int[order.Prompts.Count];
        for (int i = 0; i < lengths.Length; i++)
        {
            lengths[i] = (await client.TokenizeAsync(order.Prompts[i].Text, cancellation)).Length;
            if (lengths[i] + order.OutputTokens > _model.MaxModelLen)
                throw new InputFileException(string.Create(CultureInfo.InvariantCulture,
                    $"{order.PromptSource}, {order.Prompts[i].Source}: {lengths[i]} tokens and {order.OutputTokens} after them (--tokens) are more than the context of {_model.MaxModelLen}."));
        }
        _promptTokens = (lengths.Min(), lengths.Max());
        int[] tokens = await client.TokenizeAsync(order.Text, cancellation);
        if (tokens.Length < 2)
            throw new InputFileException($"--text {order.TextSource} has no two tokens.");
        if (tokens.Length > order.TextTokens)
            _notes.Add(string.Create(CultureInfo.InvariantCulture, $"Of the text's {tokens.Length} tokens the first {order.TextTokens} were read (--text-tokens)."));
        return _text = new TextTokens([.. tokens.Take(order.TextTokens)], Math.Min(OutputRun.WindowTokens, _model.MaxModelLen), _model.MaxModelLen);
    }

    private async Task<ReportReference?> ReferenceAsync(IReadOnlyList<PositionLogprobs> served, VariantSpec spec, CancellationToken cancellation)
    {
        try
        {
            await using MeasuredServer server = await MeasuredServer.StartAsync([.. order.ServerFlags, .. spec.Flags, "--activations", "f32"], order.ReadyTimeout, cancellation);
            using ServerClient client = new(server.Grpc);
            progress(string.Create(CultureInfo.InvariantCulture, $"activations of f32: ready after {server.ReadyAfter.TotalSeconds:F1} s"));
            IReadOnlyList<PositionLogprobs> exact = await OutputRun.ScoreTextAsync(client, _text!.Tokens, _text.Window, OutputRun.MostTop, cancellation);
            return new ReportReference
            {
                Positions = exact.Count,
                Kl = exact.Zip(served).Average(pair => Likelihood.LeastKl(pair.First, pair.Second)),
                Top1 = Likelihood.SameLikeliest(exact, served),
                Perplexity = Likelihood.Perplexity([.. exact.Select(position => position.Logprob)]),
                ServedPerplexity = Likelihood.Perplexity([.. served.Select(position => position.Logprob)]),
            };
        }
        catch (Exception fault) when (fault is MeasurementException or RpcException && !cancellation.IsCancellationRequested)
        {
            _notes.Add($"No figures against activations of f32: {Reason(fault)}");
            return null;
        }
    }

    private ReportQuality QualityOf(VariantOutcome outcome) => new()
    {
        Text = order.TextSource,
        Tokens = outcome.Text.Count,
        Perplexity = Likelihood.Perplexity([.. outcome.Text.Select(position => position.Logprob)]),
        WindowTokens = _text!.Window,
        Eval = outcome.Eval,
    };

    /// <summary>The text as read by groups that round, beside the group of the same split that does not, or any that does not: all of those give the same bits.</summary>
    private static void CompareWires(IReadOnlyList<VariantOutcome> outcomes)
    {
        foreach (VariantOutcome rounded in outcomes.Where(outcome => outcome.Variant.Wire != VariantSpec.ExactWire))
        {
            VariantOutcome[] exact = [.. outcomes.Where(outcome => outcome.Variant.Wire == VariantSpec.ExactWire)];
            if ((exact.FirstOrDefault(outcome => (outcome.Variant.Degree, outcome.Variant.Partition) == (rounded.Variant.Degree, rounded.Variant.Partition)) ?? exact.FirstOrDefault()) is not { } beside)
                continue;
            rounded.Variant.Rounding = new ReportRounding
            {
                Against = beside.Variant.Name,
                Positions = beside.Text.Count,
                Kl = beside.Text.Zip(rounded.Text).Average(pair => Likelihood.LeastKl(pair.First, pair.Second)),
                Top1 = Likelihood.SameLikeliest(beside.Text, rounded.Text),
                Perplexity = Likelihood.Perplexity([.. rounded.Text.Select(position => position.Logprob)]),
                ExactPerplexity = Likelihood.Perplexity([.. beside.Text.Select(position => position.Logprob)]),
                SentBytesPerToken = Sent(rounded.Variant),
                ExactSentBytesPerToken = Sent(beside.Variant),
            };
        }

        static double Sent(ReportVariant variant) => variant.Ranks.Sum(rank => rank.Collectives.Sum(traffic => traffic.SentBytesPerToken));
    }

    /// <summary>Every group's answers and text against the first group's. Of the text the logprobs alone: the first group was asked for more.</summary>
    private static ReportEquality Compare(IReadOnlyList<VariantOutcome> outcomes)
    {
        if (outcomes.Count == 0)
            return new ReportEquality();
        OutputRecord[][] records = [.. outcomes.Select(outcome => (OutputRecord[])[.. outcome.Answers, new OutputRecord("the text", [.. outcome.Text.Select(position => position with { Top = [] })])])];
        ReportEquality equality = new() { Compared = outcomes.Count - 1, Values = records[0].Sum(record => record.Values) };
        for (int i = 1; i < records.Length; i++)
            if (OutputRecord.FirstDifference(records[0], records[i]) is not { } difference)
                equality.Equal++;
            else if (equality.FirstDifference.Length == 0)
                equality.FirstDifference = $"{outcomes[0].Variant.Name} against {outcomes[i].Variant.Name}: {difference}";
        return equality;
    }

    private ReportWorkload WorkloadOf()
    {
        ReportWorkload workload = new()
        {
            Source = order.PromptSource,
            Prompts = order.Prompts.Count,
            LeastPromptTokens = _promptTokens.Least,
            MostPromptTokens = _promptTokens.Most,
            OutputTokens = order.OutputTokens,
            WindowSeconds = order.Window.TotalSeconds,
            Rounds = order.Rounds,
        };
        if (order.Seed is { } seed)
            workload.Seed = seed;
        return workload;
    }

    /// <summary>What is not there, and what this machine makes of what is.</summary>
    private IEnumerable<string> NotesOn(TpReport report)
    {
        ReportVariant[] measured = [.. report.Variants.Where(variant => variant.Fault.Length == 0)];
        if (measured.Any(variant => variant.Degree > 1 && variant.Ranks.Any(rank => rank.Collectives.Count == 0)))
            yield return "Left out where devices exchange by themselves: bytes and time by kind of collective. Time in all collectives stands under exchange and wait.";
        if (measured.Any(variant => variant.Wire != VariantSpec.ExactWire))
            yield return "Groups that round what they send give other outputs than one worker, so they are neither compared for equality nor recommended.";
        if (measured.Any(variant => variant.Resource == "GPUs"))
            yield return "Left out on GPUs: peak device memory, and the share of the roofline; peak memory is the process's on the host.";
        else if (measured.Select(variant => variant.Resources).Distinct().Count() == 1)
            yield return string.Create(CultureInfo.InvariantCulture, $"Every group computes with the same {measured[0].Resources} threads, so speed-up is what splitting itself costs or brings, and the serial fraction is undefined.");
        if (measured.Any(variant => variant.Resource == "threads" && variant.Degree > order.Cores))
            yield return string.Create(CultureInfo.InvariantCulture, $"Groups of more than {order.Cores} workers share cores: that measures the software, not what more hardware would bring.");
        if (measured.Any(variant => variant.Baseline))
            yield return "The baseline is one worker with the threads of one worker of the largest group: only its throughput was measured.";
        if (order.HasDraft)
            yield return "With a draft model the share of the roofline is left out: a token is not one read of the weights.";
    }

    private static string Reason(Exception fault) => fault is RpcException call ? $"{call.StatusCode}: {call.Status.Detail}" : fault.Message;
}
