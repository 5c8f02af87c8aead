using System.Globalization;
using TpServe.Gateway.Settings;
using TpServe.Sharding;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Commands.Planning;

/// <summary>Prints a predicted plan for people: who owns what, what it takes, what travels, what else there was, and what was assumed.</summary>
internal static class PlanReport
{
    /// <summary>The plan; with its reasons where asked for.</summary>
    public static void Print(PredictedPlan predicted, bool explains, TextWriter output)
    {
        RankedPlan plan = predicted.Result.Best;
        Workload work = predicted.Workload;
        output.WriteLine(ModelSummary.Of(predicted.Checkpoint));
        output.WriteLine();
        output.WriteLine(Text($"for {predicted.Objective}: {work.Batch} {(work.Batch == 1 ? "request" : "requests at once")}, {work.PromptTokens} prompt tokens in chunks of {work.ChunkTokens}, {work.OutputTokens} output tokens, context {work.ContextTokens}, kv cache {Words.KvDtypes.Of(predicted.KvDtype)}"));
        output.WriteLine($"degree {plan.Degree} of {predicted.Devices.Profiles.Count} devices{LeftOut(predicted, plan)}");
        output.WriteLine(Text($"predicted: time to first token {Time(plan.Prediction.PromptSeconds)}, time per output token {Time(plan.Prediction.StepSeconds)}, {plan.Prediction.TokensPerSecond:F1} tokens/s, room for {plan.Prediction.KvCapacityTokens} tokens of KV cache"));
        output.WriteLine();
        Table(output, Ranks(predicted, plan));
        output.WriteLine();
        output.WriteLine(plan.Degree == 1 ? "one rank: no collective" : "collectives, seconds and bytes over all ranks:");
        if (plan.Degree > 1)
            Table(output, Collectives(plan));
        output.WriteLine();
        output.WriteLine(predicted.Result.Alternatives.Count == 0 ? "no other plan has room" : "other plans:");
        if (predicted.Result.Alternatives.Count > 0)
            Table(output, Alternatives(predicted));
        output.WriteLine(Certainty(predicted.Result));
        if (explains)
        {
            output.WriteLine();
            foreach (string line in PlanReasons.Of(predicted))
                output.WriteLine(line);
        }
        output.WriteLine();
        foreach (string line in Origins(predicted))
            output.WriteLine(line);
    }

    /// <summary>Milliseconds as a person reads them.</summary>
    internal static string Time(double seconds) => seconds >= 1 ? Text($"{seconds:F2} s") : seconds >= 1e-3 ? Text($"{seconds * 1e3:F2} ms") : Text($"{seconds * 1e6:F1} us");

    /// <summary>What was assumed, and where figures are from.</summary>
    internal static IReadOnlyList<string> Origins(PredictedPlan predicted) => predicted.Devices.IsDerived
        ? [
            "assumed, where nothing was measured:",
            .. DerivedRates.Lines(predicted.GpuMemory).Select(line => "  " + line),
            .. predicted.Devices.Notes.Select(note => "  " + note),
        ]
        : predicted.Devices.Notes.Count > 0 ? predicted.Devices.Notes : ["all rates are those of the file"];

    private static string LeftOut(PredictedPlan predicted, RankedPlan plan)
    {
        string[] left = [.. predicted.Devices.Profiles.Where((_, device) => !plan.Devices.Contains(device)).Select(device => device.Name)];
        return left.Length == 0 ? "" : $"; left out: {string.Join(", ", left)}";
    }

    private static IEnumerable<string[]> Ranks(PredictedPlan predicted, RankedPlan plan)
    {
        yield return ["rank", "device", "heads", "kv", "mlp", "vocabulary", "weights", "kv cache", "scratch", "usable"];
        foreach (ShardPlan shard in predicted.Shards(plan))
        {
            RankMemory memory = plan.Prediction.Memory[shard.Rank];
            yield return
            [
                Text($"{shard.Rank}"), predicted.Devices.Profiles[plan.Devices[shard.Rank]].Name, Range(shard.FirstHead, shard.LocalHeads), Range(shard.FirstKvHead, shard.LocalKvHeads),
                Range(shard.FirstIntermediate, shard.LocalIntermediate), Range(shard.FirstVocab, shard.LocalVocab), Size(memory.WeightBytes), Size(memory.KvBytes), Size(memory.ScratchBytes), Size(memory.UsableBytes),
            ];
        }
    }

    private static IEnumerable<string[]> Collectives(RankedPlan plan)
    {
        yield return ["closes", "a prompt", "", "an output step", ""];
        IReadOnlyList<SegmentPrediction> prefill = plan.Prediction.Phases[0].Segments, decode = plan.Prediction.Phases[1].Segments;
        for (int segment = 0; segment < decode.Count; segment++)
            yield return
            [
                decode[segment].Name, Time(prefill[segment].CollectiveSeconds), Size(prefill[segment].CollectiveBytes), Time(decode[segment].CollectiveSeconds), Size(decode[segment].CollectiveBytes),
            ];
    }

    private static IEnumerable<string[]> Alternatives(PredictedPlan predicted)
    {
        yield return ["degree", "devices", "heads", "mlp leaves", "first token", "output token", "tokens/s", "cost"];
        double best = predicted.Result.Best.Prediction.CostSeconds;
        foreach (RankedPlan plan in predicted.Result.Alternatives)
            yield return
            [
                Text($"{plan.Degree}"), string.Join(',', plan.Devices), Shares(plan.Partition.HeadBoundaries), Shares(plan.Partition.LeafBoundaries), Time(plan.Prediction.PromptSeconds),
                Time(plan.Prediction.StepSeconds), Text($"{plan.Prediction.TokensPerSecond:F1}"), Text($"{100 * ((plan.Prediction.CostSeconds / best) - 1):+0.0;-0.0;+0.0} %"),
            ];
    }

    private static string Certainty(PlanResult result) => result.IsProven
        ? "no split is predicted to be faster" + (result.Gap > 1e-9 ? Text($", but for {result.Gap:P2} that the even split may cost") : "")
        : Text($"the search was cut short: no split is predicted to be faster by more than {result.Gap:P2}");

    private static string Shares(IReadOnlyList<int> boundaries) => string.Join('+', boundaries.Skip(1).Zip(boundaries, (end, first) => Text($"{end - first}")));

    /// <summary>"first..last" of a range, or none.</summary>
    internal static string Range(int first, int count) => count == 0 ? "none" : Text($"{first}..{first + count - 1}");

    private static string Size(double bytes) => bytes >= 1L << 30 ? Text($"{bytes / (1L << 30):F1} GiB") : bytes >= 1L << 20 ? Text($"{bytes / (1L << 20):F1} MiB") : Text($"{bytes / 1024:F1} KiB");

    /// <summary>Columns set to the right, two spaces apart; the first row has the titles.</summary>
    internal static void Table(TextWriter output, IEnumerable<string[]> lines)
    {
        string[][] rows = [.. lines];
        int[] widths = [.. rows[0].Select((_, column) => rows.Max(row => row[column].Length))];
        foreach (string[] row in rows)
            output.WriteLine(string.Join("  ", row.Select((cell, column) => cell.PadLeft(widths[column]))));
    }

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}

/// <summary>Says which rank bounds which phase of a plan, and why.</summary>
internal static class PlanReasons
{
    // A rank with less than this share of its memory free is bound by it; parts below this share are not worth a word.
    private const double LittleRoom = 0.02, Little = 0.01;

    /// <summary>Lines for people.</summary>
    public static IReadOnlyList<string> Of(PredictedPlan predicted)
    {
        RankedPlan plan = predicted.Result.Best;
        List<string> lines = [];
        foreach (PhasePrediction phase in plan.Prediction.Phases)
        {
            lines.Add(Text($"{phase.Name}, {PlanReport.Time(phase.Seconds)}{(phase.Name == "prefill" ? " a prompt" : " a step")}, {phase.CollectiveSeconds / phase.Seconds:P0} of it collectives:"));
            foreach (SegmentPrediction segment in phase.Segments.Where(segment => segment.Seconds >= Little * phase.Seconds))
                lines.Add("  " + Segment(predicted, plan, phase, segment));
        }
        for (int rank = 0; rank < plan.Degree; rank++)
        {
            RankMemory memory = plan.Prediction.Memory[rank];
            if (memory.UsableBytes - memory.TotalBytes < LittleRoom * memory.UsableBytes)
                lines.Add(Text($"memory bounds rank {rank}, {Name(predicted, plan, rank)}: {(double)memory.TotalBytes / memory.UsableBytes:P1} of what is usable is taken"));
        }
        foreach (RankedPlan other in predicted.Result.Alternatives.Where(other => other.Degree != plan.Degree).DistinctBy(other => other.Degree))
            lines.Add(Text($"degree {other.Degree} costs {100 * ((other.Prediction.CostSeconds / plan.Prediction.CostSeconds) - 1):F1} % more: a step computes for {PlanReport.Time(Compute(other))} and waits for collectives for {PlanReport.Time(other.Prediction.Phases[1].CollectiveSeconds)}, here {PlanReport.Time(Compute(plan))} and {PlanReport.Time(plan.Prediction.Phases[1].CollectiveSeconds)}"));
        return lines;

        static double Compute(RankedPlan of) => of.Prediction.Phases[1].Seconds - of.Prediction.Phases[1].CollectiveSeconds;
    }

    private static string Segment(PredictedPlan predicted, RankedPlan plan, PhasePrediction phase, SegmentPrediction segment)
    {
        ComputeParts parts = segment.Compute[segment.BoundBy];
        double fastest = segment.Compute.Min(rank => rank.Total);
        string waits = plan.Degree == 1 ? "" : fastest >= parts.Total * (1 - Little) ? "; all ranks end together" : Text($"; others wait up to {(parts.Total - fastest) / parts.Total:P0} of that");
        string collective = plan.Degree == 1 ? "" : Text($"; then {PlanReport.Time(segment.CollectiveSeconds)} of collectives{(segment.CollectiveSeconds > parts.Total ? ", more than the compute" : "")}");
        return Text($"{segment.Name} {PlanReport.Time(segment.Seconds)}: rank {segment.BoundBy}, {Name(predicted, plan, segment.BoundBy)}, bounds it and {Why(parts, phase.Name == "decode")}: {PlanReport.Time(parts.Total)} ({Shares(parts)}){waits}{collective}");
    }

    private static string Why(ComputeParts parts, bool decodes)
    {
        double most = Math.Max(parts.Gateway, Math.Max(Math.Max(parts.Products, parts.Attention), Math.Max(parts.Elementwise, parts.Overhead)));
        return most == parts.Gateway ? "shares its processor with the gateway" : most == parts.Products ? decodes ? "reads its weights" : "computes its products"
            : most == parts.Attention ? decodes ? "reads keys and values" : "computes attention"
            : most == parts.Elementwise ? "works on rows of the stream" : "starts operations";
    }

    private static string Shares(ComputeParts parts) => string.Join(", ", new[]
    {
        ("products", parts.Products), ("attention", parts.Attention), ("element-wise", parts.Elementwise), ("overhead", parts.Overhead), ("gateway", parts.Gateway),
    }.Where(part => part.Item2 >= Little * parts.Total).Select(part => Text($"{part.Item1} {part.Item2 / parts.Total:P0}")));

    private static string Name(PredictedPlan predicted, RankedPlan plan, int rank) => predicted.Devices.Profiles[plan.Devices[rank]].Name;

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
