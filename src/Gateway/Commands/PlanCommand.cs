using System.CommandLine;
using System.Globalization;
using Microsoft.Extensions.Logging.Abstractions;
using TpServe.Checkpoint;
using TpServe.Gateway.Commands.Models;
using TpServe.Gateway.Commands.Planning;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Workers;
using TpServe.Links;
using TpServe.Sharding;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve plan: prints who would own what, without loading a weight; for the devices of a file it chooses that, and predicts what it takes.</summary>
internal static class PlanCommand
{
    private static readonly string[] s_settings =
    [
        nameof(GatewayOptions.Model), nameof(GatewayOptions.Draft), nameof(GatewayOptions.Tp), nameof(GatewayOptions.Partition), nameof(GatewayOptions.KvDtype), nameof(GatewayOptions.GpuMemoryUtilization),
    ];
    private static readonly string[] s_measured = [nameof(GatewayOptions.Threads), nameof(GatewayOptions.Isa), nameof(GatewayOptions.Pin), nameof(GatewayOptions.RankMemory), nameof(GatewayOptions.ProfileCache)];
    private const int Interrupted = 130; // as a shell has it for a command that was asked to stop

    private static readonly string[] s_titles = ["rank", "heads", "kv", "mlp", "vocabulary", "weights", "kv/token", "pieces"];

    /// <param name="sources">Where settings come from beside the flags.</param>
    public static Command Create(SettingSources sources)
    {
        Command plan = new("plan", "Prints the shard plan of a model for a degree, without loading it; with --devices the best plan for those devices, with --measure for those that are here, and what it is predicted to take.");
        SettingFlags flags = SettingFlags.AddTo(plan, s_settings.Concat(s_measured).Select(SettingsTable.Of));
        PredictionFlags prediction = PredictionFlags.AddTo(plan);
        plan.SetAction((parsed, cancellation) => RunAsync(sources, flags.Given(parsed), prediction.Given(parsed), cancellation));
        return plan;
    }

    private static async Task<int> RunAsync(SettingSources sources, IReadOnlyList<GivenSetting> flags, GivenPrediction given, CancellationToken cancellation)
    {
        (GatewayOptions options, IReadOnlyList<string> faults) = GatewaySettings.Read(sources, flags);
        faults = [.. faults, .. given.Faults, .. Conflicts(options, flags, given)];
        if (faults.Count > 0)
        {
            Console.Error.WriteLine("tpserve: wrong settings: " + string.Join(" ", faults));
            return 1;
        }
        try
        {
            options = (await NamedModels.ResolveAsync(options, sources.Environment, mayDownload: false, cancellation)).Options;
            using ModelCheckpoint checkpoint = ModelCheckpoints.Open(EmbeddedModel.PathOr(options.Model));
            if (given.Devices is { } devices)
                Console.Write(given.Text(PredictedPlan.Create(checkpoint, options, devices, given.Workload!)));
            else if (given.Measures)
            {
                using IWorkerSource workers = Server.SourceOf(options, LinkSecurity.Read(options.Tls, options.InsecureLinks));
                GroupProfiler profiler = new(checkpoint, options, ProfileCache.FolderOf(options.ProfileCache, sources.Environment), given.IsFresh, NullLogger.Instance);
                Console.Write(given.Text(PredictedPlan.Create(checkpoint, options, await MeasuredDevices.MeasureAsync(checkpoint, options, workers, profiler, cancellation), "this host", given.Workload!)));
            }
            else
                PrintPartition(checkpoint, options);
            return 0;
        }
        catch (Exception fault) when (fault is ModelLoadException or ShardingException or DeviceFileException or DeviceException or WorkerStartException)
        {
            Console.Error.WriteLine($"tpserve: {fault.Message}");
            return 1;
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            return Interrupted; // the workers have ended by now
        }
    }

    /// <summary>Settings that a prediction has no place for: they would be passed over in silence.</summary>
    private static IEnumerable<string> Conflicts(GatewayOptions options, IReadOnlyList<GivenSetting> flags, GivenPrediction given)
    {
        if (!given.Measures && flags.FirstOrDefault(flag => s_measured.Contains(flag.Setting.Name)) is { } unused)
            yield return $"{unused.Source}: only --measure has a use for it.";
        if (options.Partition.IsAuto && !given.IsAsked && flags.Any(flag => flag.Setting.Name == nameof(GatewayOptions.Partition)))
            yield return "--partition auto: add --measure, which times the workers that would be split for.";
        if (!given.IsAsked)
            yield break;
        string asked = given.Measures ? "--measure" : "--devices";
        if (options.Partition.Weights.Count > 0)
            yield return $"--partition: with {asked} the plan chooses the split.";
        if (options.Draft.Length > 0)
            yield return $"--draft: with {asked} the model alone is planned.";
    }

    private static void PrintPartition(ModelCheckpoint checkpoint, GatewayOptions options)
    {
        using DraftSource? draft = DraftSource.Open(options.Draft, checkpoint);
        int degree = options.Workers.Count > 0 ? options.Workers.Count : options.Tp ?? DevicePlanner.DefaultDegree;
        // Planning is for any host: neither this one's cores nor its memory limit the degree.
        GroupPlan group = GroupPlan.Create(
            checkpoint.Config, options, DevicePlan.Cpu(degree, "plan"), freeBytes: long.MaxValue / 8, cores: Partition.MaxDegree, shard => ShardSizes.WeightBytes(checkpoint, shard), draft: draft?.Facts);
        Print(checkpoint, draft?.Checkpoint, group, options, Console.Out);
    }

    /// <summary>One line a rank and model, however narrow the terminal: a number is never broken.</summary>
    internal static void Print(ModelCheckpoint checkpoint, ModelCheckpoint? draft, GroupPlan group, GatewayOptions options, TextWriter output)
    {
        Print(checkpoint, group.Shards, options, output);
        if (draft is not null && group.Draft is { } drafts)
        {
            output.WriteLine();
            output.WriteLine("draft model, on the same workers and in blocks of the same cache:");
            Print(draft, drafts.Shards, options, output);
        }
    }

    private static void Print(ModelCheckpoint checkpoint, IReadOnlyList<ShardPlan> shards, GatewayOptions options, TextWriter output)
    {
        output.WriteLine(ModelSummary.Of(checkpoint));
        List<string[]> rows = [s_titles];
        foreach (ShardPlan shard in shards)
            rows.Add(
            [
                shard.Rank.ToString(CultureInfo.InvariantCulture),
                PlanReport.Range(shard.FirstHead, shard.LocalHeads),
                PlanReport.Range(shard.FirstKvHead, shard.LocalKvHeads),
                PlanReport.Range(shard.FirstIntermediate, shard.LocalIntermediate),
                PlanReport.Range(shard.FirstVocab, shard.LocalVocab),
                string.Create(CultureInfo.InvariantCulture, $"{ShardSizes.WeightBytes(checkpoint, shard) / 1048576.0:F1} MiB"),
                string.Create(CultureInfo.InvariantCulture, $"{GroupPlan.KvBytesPerToken(checkpoint.Config, shard, options.KvDtype)} B"),
                string.Create(CultureInfo.InvariantCulture, $"{shard.HeadShare.Pieces}+{shard.MlpShare.Pieces}"),
            ]);
        output.WriteLine();
        PlanReport.Table(output, rows);
        output.WriteLine();
        long pieceFloats = shards.Sum(shard => shard.HeadShare.Pieces + shard.MlpShare.Pieces) * (long)checkpoint.Config.Layers * checkpoint.Config.Hidden;
        output.WriteLine($"kv/token: {Words.KvDtypes.Of(options.KvDtype)} keys and values of one token on the rank; pieces: partial sums sent by an attention and an mlp output");
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"each decoded token exchanges {(shards.Count == 1 ? 0 : 2 * checkpoint.Config.Layers)} canonical sums, {(shards.Count == 1 ? 0 : pieceFloats * 4 / 1024)} KiB over all ranks"));
    }
}
