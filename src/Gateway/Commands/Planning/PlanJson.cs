using System.Text.Encodings.Web;
using System.Text.Json;
using TpServe.Gateway.Settings;
using TpServe.Sharding;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Commands.Planning;

/// <summary>A predicted plan as one JSON document: all that the report says, in seconds and bytes.</summary>
internal static class PlanJson
{
    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static string Of(PredictedPlan predicted) => JsonSerializer.Serialize(
        new
        {
            model = predicted.Checkpoint.Name,
            workload = new
            {
                objective = predicted.Objective,
                promptTokens = predicted.Workload.PromptTokens,
                outputTokens = predicted.Workload.OutputTokens,
                batch = predicted.Workload.Batch,
                contextTokens = predicted.Workload.ContextTokens,
                chunkTokens = predicted.Workload.ChunkTokens,
                kvDtype = Words.KvDtypes.Of(predicted.KvDtype),
            },
            devices = predicted.Devices.Profiles.Select((device, index) => new { index, name = device.Name, kind = device.Kind, host = predicted.Devices.Hosts[index], usableBytes = device.MemoryBytes }),
            plan = Plan(predicted, predicted.Result.Best),
            isProven = predicted.Result.IsProven,
            gap = predicted.Result.Gap,
            alternatives = predicted.Result.Alternatives.Select(plan => Plan(predicted, plan)),
            reasons = PlanReasons.Of(predicted),
            assumptions = predicted.Devices.IsDerived ? DerivedRates.Lines(predicted.GpuMemory) : [],
            sources = predicted.Devices.Notes,
        },
        s_json);

    private static object Plan(PredictedPlan predicted, RankedPlan plan) => new
    {
        degree = plan.Degree,
        devices = plan.Devices,
        headBoundaries = plan.Partition.HeadBoundaries,
        leafBoundaries = plan.Partition.LeafBoundaries,
        vocabularyBoundaries = plan.Partition.VocabBoundaries,
        timeToFirstTokenSeconds = plan.Prediction.PromptSeconds,
        timePerOutputTokenSeconds = plan.Prediction.StepSeconds,
        tokensPerSecond = plan.Prediction.TokensPerSecond,
        costSeconds = plan.Prediction.CostSeconds,
        kvCapacityTokens = plan.Prediction.KvCapacityTokens,
        ranks = predicted.Shards(plan).Select(shard => new
        {
            rank = shard.Rank,
            device = plan.Devices[shard.Rank],
            heads = shard.LocalHeads,
            kvHeads = shard.LocalKvHeads,
            mlpColumns = shard.LocalIntermediate,
            vocabularyRows = shard.LocalVocab,
            weightBytes = plan.Prediction.Memory[shard.Rank].WeightBytes,
            kvBytes = plan.Prediction.Memory[shard.Rank].KvBytes,
            scratchBytes = plan.Prediction.Memory[shard.Rank].ScratchBytes,
            usableBytes = plan.Prediction.Memory[shard.Rank].UsableBytes,
        }),
        phases = plan.Prediction.Phases.Select(phase => new
        {
            name = phase.Name,
            seconds = phase.Seconds,
            collectiveSeconds = phase.CollectiveSeconds,
            segments = phase.Segments.Select(segment => new
            {
                name = segment.Name,
                seconds = segment.Seconds,
                boundByRank = segment.BoundBy,
                collectiveSeconds = segment.CollectiveSeconds,
                collectiveBytes = segment.CollectiveBytes,
                compute = segment.Compute.Select(rank => new { seconds = rank.Total, products = rank.Products, attention = rank.Attention, elementwise = rank.Elementwise, overhead = rank.Overhead }),
            }),
        }),
    };
}
