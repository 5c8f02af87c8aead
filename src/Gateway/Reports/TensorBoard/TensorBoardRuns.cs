using System.Globalization;
using System.Text;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports.TensorBoard;

/// <summary>A report as TensorBoard's runs: one for each group of workers, and the experiment with the words above them.</summary>
internal static class TensorBoardRuns
{
    private const string Alone = "tokens_per_second/1_stream", Most = "tokens_per_second/most_streams", FirstToken = "ttft_p50_ms", Token = "tpot_p50_ms";
    private static readonly string[] s_texts = ["name", "partition", "wire"], s_numbers = ["degree", "resources"], s_metrics = [Alone, Most, FirstToken, Token];

    /// <summary>Folder of each run, "" for the experiment, and the file in it.</summary>
    public static IEnumerable<(string Folder, string Name, byte[] Content)> Of(TpReport report, DateTimeOffset at)
    {
        double wallTime = at.ToUnixTimeMilliseconds() / 1e3;
        string name = string.Create(CultureInfo.InvariantCulture, $"events.out.tfevents.{at.ToUnixTimeSeconds()}.tpserve");
        yield return ("", name, Write(wallTime, file =>
        {
            file.Experiment(s_texts, s_numbers, s_metrics);
            file.Text("recommendation", report.Recommendation);
            file.Text("figures", Table(report));
            file.Text("notes", string.Concat(report.Notes.Select(note => $"- {note}\n")));
        }));
        foreach (ReportVariant variant in report.Variants.Where(variant => variant.Fault.Length == 0))
            yield return (FolderOf(variant.Name), name, Write(wallTime, file => Run(file, variant)));
    }

    /// <summary>The name in letters, digits, points and dashes.</summary>
    public static string FolderOf(string name) => string.Concat(name.Select(letter => char.IsAsciiLetterOrDigit(letter) || letter == '.' ? letter : '-'));

    private static void Run(EventFile file, ReportVariant variant)
    {
        file.Session(
            variant.Name,
            new Dictionary<string, string> { ["name"] = variant.Name, ["partition"] = variant.Partition.Length == 0 ? "even" : variant.Partition, ["wire"] = variant.Wire },
            new Dictionary<string, double> { ["degree"] = variant.Degree, ["resources"] = variant.Resources });
        foreach ((string tag, ReportQuantiles? time) in new[] { ("ttft", variant.Ttft), ("tpot", variant.Tpot), ("itl", variant.Itl) })
            if (time is not null)
                foreach ((int percentile, double value) in new[] { (50, time.P50), (90, time.P90), (99, time.P99) })
                    file.Scalar($"percentiles_ms/{tag}", percentile, value);
        if (variant.Ttft is { } first)
            file.Scalar(FirstToken, 0, first.P50);
        if (variant.Tpot is { } token)
            file.Scalar(Token, 0, token.P50);
        // Streams are the horizontal axis of what depends on them.
        foreach (ReportLoad load in variant.Loads)
        {
            file.Scalar("by_streams/tokens_per_second", load.Streams, load.TokensPerSecond);
            file.Scalar("by_streams/held_seconds_per_1000_tokens", load.Streams, load.HeldSecondsPer1000Tokens);
            if (load.HasSpeedUp)
                file.Scalar("by_streams/speed_up", load.Streams, load.SpeedUp);
            if (load.HasEfficiency)
                file.Scalar("by_streams/efficiency", load.Streams, load.Efficiency);
            foreach (ReportRankTime rank in load.Ranks)
                foreach ((string part, double seconds) in new[] { ("compute", rank.ComputeSeconds), ("wait", rank.WaitSeconds), ("exchange", rank.ExchangeSeconds), ("idle", rank.IdleSeconds) })
                    file.Scalar(string.Create(CultureInfo.InvariantCulture, $"rank_{rank.Rank}/{part}_seconds"), load.Streams, seconds);
        }
        if (variant.Loads.Count > 0)
        {
            file.Scalar(Alone, 0, variant.Loads[0].TokensPerSecond);
            file.Scalar(Most, 0, variant.Loads[^1].TokensPerSecond);
        }
    }

    private static string Table(TpReport report)
    {
        StringBuilder text = new("| | TTFT p50 ms | TPOT p50 ms | tokens/s by streams |\n|---|---|---|---|\n");
        foreach (ReportVariant variant in report.Variants.Where(variant => variant.Fault.Length == 0))
            text.Append(CultureInfo.InvariantCulture, $"| {variant.Name} | {variant.Ttft?.P50:F1} | {variant.Tpot?.P50:F2} | ")
                .AppendJoin(", ", variant.Loads.Select(load => string.Create(CultureInfo.InvariantCulture, $"{load.Streams}: {load.TokensPerSecond:F1}"))).Append(" |\n");
        return text.ToString();
    }

    private static byte[] Write(double wallTime, Action<EventFile> fill)
    {
        using MemoryStream bytes = new();
        EventFile file = new(bytes, wallTime);
        file.Begin();
        fill(file);
        return bytes.ToArray();
    }
}
