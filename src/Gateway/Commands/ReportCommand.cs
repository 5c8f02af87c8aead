using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Grpc.Core;
using TpServe.Checkpoint;
using TpServe.Gateway.Commands.Models;
using TpServe.Gateway.Reports;
using TpServe.Gateway.Reports.Inputs;
using TpServe.Gateway.Reports.Measuring;
using TpServe.Gateway.Settings;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve report: measures what each degree and partition costs and brings on this machine, and writes a page, tables and TensorBoard's files.</summary>
internal static class ReportCommand
{
    /// <summary>The hidden command by which a report starts its servers.</summary>
    public const string ServerName = "measured-server";

    private const int Cancelled = 130; // as a shell says of a program that Ctrl-C ended

    // Of serve's flags, those that say what is measured; which group and where it listens is the report's to say.
    private static readonly string[] s_settings =
    [
        nameof(GatewayOptions.Model), nameof(GatewayOptions.Draft), nameof(GatewayOptions.Offline), nameof(GatewayOptions.MaxModelLen), nameof(GatewayOptions.KvCache), nameof(GatewayOptions.KvDtype), nameof(GatewayOptions.GpuMemoryUtilization),
        nameof(GatewayOptions.Device), nameof(GatewayOptions.Threads), nameof(GatewayOptions.Pin), nameof(GatewayOptions.Isa), nameof(GatewayOptions.Activations), nameof(GatewayOptions.Transport),
        nameof(GatewayOptions.MaxStepTokens), nameof(GatewayOptions.ChunkTokens), nameof(GatewayOptions.Speculation), nameof(GatewayOptions.DraftTokens), nameof(GatewayOptions.LoadTimeout),
    ];

    /// <param name="sources">Where settings come from beside the flags.</param>
    public static Command Create(SettingSources sources)
    {
        Command report = new("report", "Measures what each tensor-parallel degree costs and brings on this machine, on servers of its own, and writes a page, tables and TensorBoard's files.");
        ReportFlags own = ReportFlags.AddTo(report);
        SettingFlags flags = SettingFlags.AddTo(report, s_settings.Select(SettingsTable.Of));
        report.SetAction((parsed, cancellation) => RunAsync(sources, flags.Given(parsed), own, parsed, cancellation));
        return report;
    }

    /// <summary>Serves as serve does, until its standard input closes: so it cannot outlive the report that started it.</summary>
    /// <param name="sources">Where settings come from beside the flags.</param>
    public static Command CreateServer(SettingSources sources)
    {
        Command server = new(ServerName, "Serves until standard input closes.") { Hidden = true };
        SettingFlags flags = SettingFlags.AddTo(server, SettingsTable.All);
        server.SetAction(async (parsed, cancellation) =>
        {
            using CancellationTokenSource ends = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            Thread watch = new(() =>
            {
                using Stream input = Console.OpenStandardInput();
                while (input.ReadByte() >= 0)
                {
                    // Nobody sends anything; what counts is the end.
                }
                try
                {
                    ends.Cancel();
                }
                catch (ObjectDisposedException)
                {
                    // The server has ended by itself.
                }
            })
            { IsBackground = true };
            watch.Start();
            return await Server.RunAsync(sources, flags.Given(parsed), ends.Token);
        });
        return server;
    }

    private static async Task<int> RunAsync(SettingSources sources, IReadOnlyList<GivenSetting> given, ReportFlags own, ParseResult parsed, CancellationToken cancellation)
    {
        (GatewayOptions options, IReadOnlyList<string> faults) = GatewaySettings.Read(sources, given);
        if (faults.Count > 0)
            return Fail("wrong settings: " + string.Join(" ", faults));
        if (options.Workers.Count > 0)
            return Fail("a report starts workers of its own: --worker, wherever it is set, is not for it.");
        string folder = Path.GetFullPath(own.Folder(parsed));
        bool isFresh = !Directory.Exists(folder), isWritten = false;
        try
        {
            // 1. What is wrong is said before minutes of measuring.
            options = (await NamedModels.ResolveAsync(options, sources.Environment, mayDownload: true, cancellation)).Options;
            ReportOrder order = OrderOf(own, parsed, options, given);
            Directory.CreateDirectory(folder);
            Announce(order);

            // 2. Measure.
            long start = Stopwatch.GetTimestamp();
            ReportRun run = new(order, line => Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Stopwatch.GetElapsedTime(start).TotalSeconds,6:F1} s  {line}")), TimeProvider.System);
            TpReport report = await run.RunAsync(cancellation);

            // 3. Write, and say it.
            IReadOnlyList<string> files = ReportFiles.Write(folder, report, TimeProvider.System.GetUtcNow());
            isWritten = true;
            ReportSummary.Print(report, Console.Out);
            Console.Out.WriteLine($"{files[^1]}   (all files: {folder}; tensorboard --logdir {Path.Combine(folder, "tensorboard")}; shown by a server with --report {folder})");
            return report.Equality.FirstDifference.Length == 0 && report.Variants.All(variant => variant.Fault.Length == 0) ? 0 : 1;
        }
        catch (Exception fault) when (fault is OperationCanceledException or RpcException && cancellation.IsCancellationRequested)
        {
            UsageFault.Tell("report: cancelled; its servers have ended and nothing was written.");
            return Cancelled;
        }
        catch (Exception fault) when (fault is InputFileException or MeasurementException or ModelLoadException or IOException or UnauthorizedAccessException)
        {
            return Fail(fault.Message);
        }
        finally
        {
            if (isFresh && !isWritten && Directory.Exists(folder) && !Directory.EnumerateFileSystemEntries(folder).Any())
                Directory.Delete(folder);
        }
    }

    private static ReportOrder OrderOf(ReportFlags own, ParseResult parsed, GatewayOptions options, IReadOnlyList<GivenSetting> given)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(EmbeddedModel.PathOr(options.Model));
        return own.Order(parsed) with
        {
            ServerFlags = [.. given.SelectMany(setting => (string[])[setting.Setting.Flag, setting.Text])],
            Threads = options.Threads,
            Cores = Environment.ProcessorCount,
            Reference = own.Reference(parsed) && options.Activations != Protos.Worker.ActivationDtype.F32,
            ReadyTimeout = options.LoadTimeout,
            ModelSummary = Commands.ModelSummary.Of(checkpoint),
            UnreadBytes = checkpoint.Config.TieEmbeddings ? 0 : checkpoint.Tensors.Values.Where(tensor => tensor.Name.Contains("embed_tokens", StringComparison.Ordinal)).Sum(tensor => tensor.ByteCount),
            HasDraft = options.Draft.Length > 0,
        };
    }

    private static void Announce(ReportOrder order) => Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"report    {string.Join("; ", order.Variants.Select(spec => spec.Name))} on {order.Cores} cores; {order.Prompts.Count} prompts ({order.PromptSource}{(order.Seed is { } seed ? $", seed {seed}" : "")}), {order.OutputTokens} tokens after each; {string.Join(", ", order.Streams)} streams for {order.Window.TotalSeconds:0.#} s each"));

    private static int Fail(string reason)
    {
        UsageFault.Tell(reason);
        return 1;
    }
}
