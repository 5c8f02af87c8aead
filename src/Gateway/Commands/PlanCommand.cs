using System.CommandLine;
using System.Globalization;
using Spectre.Console;
using TpServe.Checkpoint;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Workers;
using TpServe.Sharding;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve plan: prints who would own what, without loading a weight.</summary>
internal static class PlanCommand
{
    public static Command Create()
    {
        Option<string> model = new("--model") { Description = "A GGUF file or a Hugging Face folder. Default: the embedded SmolLM2.", HelpName = "FILE|FOLDER" };
        Option<int> tp = new("--tp") { Description = "Tensor parallel degree.", HelpName = "N", DefaultValueFactory = _ => 2 };
        Option<string> partition = new("--partition") { Description = "even, or one weight for each worker.", HelpName = "even|w0,w1,…", DefaultValueFactory = _ => "even" };
        Option<string> kvDtype = new("--kv-dtype") { Description = "Type of the KV cache.", HelpName = "f16|f32|bf16", DefaultValueFactory = _ => "f16" };
        kvDtype.AcceptOnlyFromAmong("f16", "f32", "bf16");
        Command plan = new("plan", "Prints the shard plan of a model for a degree, without loading it.") { model, tp, partition, kvDtype };
        plan.SetAction(parsed => Run(EmbeddedModel.PathOr(parsed.GetValue(model)), parsed.GetValue(tp), parsed.GetValue(partition)!, parsed.GetValue(kvDtype)!));
        return plan;
    }

    private static int Run(string model, int degree, string partition, string kvDtype)
    {
        try
        {
            using ModelCheckpoint checkpoint = ModelCheckpoints.Open(model);
            // Planning is for any host: neither this one's cores nor its memory limit the degree.
            GatewayOptions options = new() { Tp = degree, Partition = partition, KvDtype = kvDtype };
            GroupPlan group = GroupPlan.Create(
                checkpoint.Config, options, DevicePlan.Cpu(degree, "plan"), freeBytes: long.MaxValue / 8, cores: Partition.MaxDegree, shard => ShardSizes.WeightBytes(checkpoint, shard));
            Print(checkpoint, group, kvDtype);
            return 0;
        }
        catch (Exception fault) when (fault is ModelLoadException or ShardingException)
        {
            Console.Error.WriteLine($"tpserve: {fault.Message}");
            return 1;
        }
    }

    private static void Print(ModelCheckpoint checkpoint, GroupPlan group, string kvDtype)
    {
        Console.WriteLine(ModelSummary.Of(checkpoint));
        Table table = new Table().Border(TableBorder.Simple);
        foreach (string title in new[] { "rank", "heads", "kv", "mlp", "vocabulary", "weights", "kv/token", "pieces" })
            table.AddColumn(new TableColumn(title).RightAligned());
        foreach (ShardPlan shard in group.Shards)
            table.AddRow(
                shard.Rank.ToString(CultureInfo.InvariantCulture),
                Range(shard.FirstHead, shard.LocalHeads),
                Range(shard.FirstKvHead, shard.LocalKvHeads),
                Range(shard.FirstIntermediate, shard.LocalIntermediate),
                Range(shard.FirstVocab, shard.LocalVocab),
                Mebibytes(ShardSizes.WeightBytes(checkpoint, shard)),
                string.Create(CultureInfo.InvariantCulture, $"{GroupPlan.KvBytesPerToken(checkpoint.Config, shard, kvDtype)} B"),
                string.Create(CultureInfo.InvariantCulture, $"{shard.HeadShare.Pieces}+{shard.MlpShare.Pieces}"));
        AnsiConsole.Write(table);
        long pieceFloats = group.Shards.Sum(shard => shard.HeadShare.Pieces + shard.MlpShare.Pieces) * (long)checkpoint.Config.Layers * checkpoint.Config.Hidden;
        Console.WriteLine($"kv/token: {kvDtype} keys and values of one token on the rank; pieces: partial sums sent by an attention and an mlp output");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"each decoded token exchanges {(group.Degree == 1 ? 0 : 2 * checkpoint.Config.Layers)} canonical sums, {(group.Degree == 1 ? 0 : pieceFloats * 4 / 1024)} KiB over all ranks"));
    }

    private static string Range(int first, int count) => count == 0 ? "none" : string.Create(CultureInfo.InvariantCulture, $"{first}..{first + count - 1}");

    private static string Mebibytes(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:F1} MiB");
}
