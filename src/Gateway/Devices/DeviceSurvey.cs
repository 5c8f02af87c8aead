using System.Diagnostics;
using Google.Protobuf;
using TpServe.Gateway.Workers;
using TpServe.Links;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Devices;

/// <summary>Asks the workers what they can compute on: the worker's program on this host, or those that run elsewhere.</summary>
/// <remarks>The gateway links no device code: a driver that crashes, or keeps a process from ending, does not do so here.</remarks>
internal static class DeviceSurvey
{
    /// <summary>How long a driver may take to wake its GPUs.</summary>
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(30);

    /// <summary>What a host with an NVIDIA driver has some of: a card's, a Jetson's, or that of Windows.</summary>
    private static readonly string[] s_driverSigns = ["/dev/nvidiactl", "/dev/nvidia0", "/proc/driver/nvidia", "/dev/nvmap", "/dev/nvhost-ctrl", "/dev/dxg"];

    /// <summary>What the planners need: one answer for this host, or one for each external worker. GPUs are looked for where the settings may take one.</summary>
    /// <param name="options">Checked settings.</param>
    /// <param name="local">The workers of this host; null where they run elsewhere.</param>
    /// <param name="cancellation">Ends the asking.</param>
    /// <exception cref="WorkerStartException">The worker's program is missing, or an external worker does not answer.</exception>
    public static async Task<IReadOnlyList<HelloReply>> RunAsync(GatewayOptions options, LocalWorkers? local, CancellationToken cancellation)
    {
        bool gpus = options.Device.NeedsSurvey;
        if (local is not null)
            return [await AheadAsync(local, gpus, cancellation) ?? await LocalAsync(gpus, Timeout, cancellation)];
        string secret = (await File.ReadAllTextAsync(options.SecretFile, cancellation)).Trim();
        LinkSecurity links = LinkSecurity.Read(options.Tls, options.InsecureLinks);
        HelloReply[] hosts = await Task.WhenAll(options.Workers.Select(async address =>
        {
            using WorkerClient client = new(address, secret, links);
            // Whether it is there at all is known after ConnectTimeout; then its driver may take its time.
            HelloReply host = await client.HelloAsync(surveyGpus: false, options.ConnectTimeout, cancellation);
            return gpus ? await client.HelloAsync(surveyGpus: true, Timeout, cancellation) : host;
        }));
        LoadPlanner.RequireDistinct(hosts, options.Workers);
        return hosts;
    }

    /// <summary>How many workers of this host can be started before it is surveyed: as many as there will be where no GPU can change that, else none.</summary>
    public static int WorkersAhead(GatewayOptions options)
    {
        bool mayTakeGpus = options.Device.NeedsSurvey && (options.Device.Kind != DeviceKind.Unspecified || HasDriver);
        int degree = options.Tp ?? DevicePlanner.DefaultDegree;
        return mayTakeGpus || degree > GroupPlan.FewestLocalWorkersAllowed ? 0 : degree;
    }

    /// <summary>Whether an NVIDIA driver runs here: then its GPUs are looked for in a process that does nothing else, for a driver may crash or hang.</summary>
    private static bool HasDriver => s_driverSigns.Any(Path.Exists);

    /// <summary>The answer of a worker that was started ahead; null where there is none, or it fails to answer.</summary>
    private static async Task<HelloReply?> AheadAsync(LocalWorkers local, bool gpus, CancellationToken cancellation)
    {
        try
        {
            return await local.AskAsync(gpus, cancellation);
        }
        catch (WorkerStartException)
        {
            return null; // whatever ails it, a process that only surveys tells, or the start of the workers does
        }
    }

    /// <summary>Runs the worker's command devices; a worker that fails to answer sees no GPU, and says why.</summary>
    /// <exception cref="WorkerStartException">The worker's program is missing or does not start.</exception>
    public static async Task<HelloReply> LocalAsync(bool gpus, TimeSpan timeout, CancellationToken cancellation)
    {
        ProcessStartInfo start = WorkerProgram.Find();
        start.ArgumentList.Add("devices");
        start.ArgumentList.Add("--json");
        if (!gpus)
            start.ArgumentList.Add("--no-gpus");
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        start.UseShellExecute = false;
        using Process process = new() { StartInfo = start };
        WorkerProgram.Start(process);
        using CancellationTokenSource deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(timeout);
        try
        {
            Task<string> errors = process.StandardError.ReadToEndAsync(deadline.Token);
            string output = await process.StandardOutput.ReadToEndAsync(deadline.Token);
            string tail = await errors;
            await process.WaitForExitAsync(deadline.Token);
            return process.ExitCode == 0
                ? JsonParser.Default.Parse<HelloReply>(output)
                : NoGpu($"the worker's device survey ended with code {process.ExitCode}{(tail.Length > 0 ? ": " + tail.ReplaceLineEndings(" ").Trim() : "")}");
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return NoGpu(FormattableString.Invariant($"the worker's device survey took longer than {timeout.TotalSeconds:F0} s"));
        }
        catch (InvalidProtocolBufferException fault)
        {
            return NoGpu($"the worker's device survey cannot be read: {fault.Message}");
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    private static HelloReply NoGpu(string reason) => new() { GpuReason = reason, FreeBytes = RuntimeLimitBytes };

    /// <summary>What this runtime may use of the host's memory, for where no worker says what is free.</summary>
    public static long RuntimeLimitBytes => GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
}
