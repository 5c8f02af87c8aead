using System.Threading.Channels;
using Grpc.Core;
using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Worker;

/// <summary>What the gateway may call: translates, and leaves everything to <see cref="RankHost"/>.</summary>
/// <remarks>
/// Errors   Load: FailedPrecondition, whatever it was. Run: PlanMismatchException → FailedPrecondition, a lost group → Aborted, all else → Internal,
///          each with the trailer that tells them from a broken link.
/// </remarks>
internal sealed partial class WorkerService(RankHost rank, WorkerOptions options, IHostApplicationLifetime lifetime, ILogger<WorkerService> log) : WorkerControl.WorkerControlBase
{
    /// <summary>Metadata entry that says whose fault ended a call.</summary>
    private const string FaultTrailer = "tpserve-fault";

    /// <summary>Plans read ahead of the rank; the gateway keeps two steps in flight.</summary>
    private const int MostStepsAhead = 8;

    public override async Task<HelloReply> Hello(HelloRequest request, ServerCallContext context)
    {
        // Off the server's threads: a driver may take seconds to wake its GPUs.
        HelloReply reply = await Task.Run(() => HostFacts.Describe(request.SurveyGpus));
        reply.Pid = Environment.ProcessId;
        reply.RingAddress = options.Advertise.Length > 0 ? options.Advertise : options.Listen.StartsWith("unix:", StringComparison.Ordinal) ? options.Listen : "http://" + options.Listen;
        return reply;
    }

    public override async Task<OpenIpcReply> OpenIpc(OpenIpcRequest request, ServerCallContext context)
    {
        OpenIpcReply reply = await rank.OpenIpcAsync(request);
        if (reply.Reason.Length > 0)
            LogIpcRefused(request.Epoch, request.Rank, reply.Reason);
        return reply;
    }

    public override async Task<ProveIpcReply> ProveIpc(ProveIpcRequest request, ServerCallContext context)
    {
        // A gateway that stops waiting has no use for the rest of the proof.
        using CancellationTokenRegistration gone = context.CancellationToken.Register(() => rank.Revoke(request.Epoch, "the gateway waits no longer"));
        ProveIpcReply reply = await rank.ProveIpcAsync(request);
        if (reply.Reason.Length > 0)
            LogIpcRefused(request.Epoch, request.Rank, reply.Reason);
        return reply;
    }

    public override async Task Load(LoadRequest request, IServerStreamWriter<LoadProgress> responses, ServerCallContext context)
    {
        // Progress comes from the rank's thread faster than anyone reads: only the latest matters.
        Channel<LoadProgress> progress = Channel.CreateBounded<LoadProgress>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropOldest });
        Task<LoadReport> load = rank.LoadAsync(request, step => progress.Writer.TryWrite(step));
        _ = load.ContinueWith(_ => progress.Writer.TryComplete(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        try
        {
            await foreach (LoadProgress step in progress.Reader.ReadAllAsync(context.CancellationToken))
                await responses.WriteAsync(step, context.CancellationToken);
            LoadReport report = await load;
            LogLoaded(request.Epoch, request.Rank, report.Seconds, report.WeightBytes);
            await responses.WriteAsync(new LoadProgress { Stage = "loaded", Report = report }, context.CancellationToken);
        }
        catch (Exception fault) when (fault is not OperationCanceledException || !context.CancellationToken.IsCancellationRequested)
        {
            LogLoadFailed(request.Epoch, request.Rank, Describe(fault));
            throw Fault(StatusCode.FailedPrecondition, fault is GroupLostException ? "peer" : "load", fault);
        }
    }

    public override async Task Run(IAsyncStreamReader<StepPlan> requests, IServerStreamWriter<StepResult> responses, ServerCallContext context)
    {
        // One task reads plans and hands each to the rank at once, another answers in order: the rank never waits for the network between two steps.
        Func<StepPlan, Task<StepResult>> run = rank.OpenLoop();
        Channel<Task<StepResult>> steps = Channel.CreateBounded<Task<StepResult>>(new BoundedChannelOptions(MostStepsAhead) { SingleReader = true, SingleWriter = true });
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        Task answering = AnswerAsync(steps.Reader, responses, context.CancellationToken), reading = ReadAsync();
        try
        {
            // Where a step fails the answers end first, and with them the call.
            await await Task.WhenAny(reading, answering);
            await answering;
        }
        catch (Exception) when (context.CancellationToken.IsCancellationRequested)
        {
            // The gateway has closed the stream.
        }
        finally
        {
            // The server carries a later call over the same stream: a read of this one that were still pending would take that one's place.
            await over.CancelAsync();
            await reading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        async Task ReadAsync()
        {
            try
            {
                while (await requests.MoveNext(over.Token))
                    await steps.Writer.WriteAsync(run(requests.Current), over.Token);
            }
            finally
            {
                steps.Writer.TryComplete();
            }
        }
    }

    public override Task<PingReply> Ping(PingRequest request, ServerCallContext context) => Task.FromResult(new PingReply());

    public override Task<RevokeReply> Revoke(RevokeRequest request, ServerCallContext context)
    {
        rank.Revoke(request.Epoch, request.Reason);
        return Task.FromResult(new RevokeReply());
    }

    public override Task<ShutdownReply> Shutdown(ShutdownRequest request, ServerCallContext context)
    {
        lifetime.StopApplication();
        return Task.FromResult(new ShutdownReply());
    }

    private async Task AnswerAsync(ChannelReader<Task<StepResult>> steps, IServerStreamWriter<StepResult> responses, CancellationToken cancellation)
    {
        await foreach (Task<StepResult> step in steps.ReadAllAsync(cancellation))
        {
            StepResult result;
            try
            {
                result = await step;
            }
            catch (Exception fault) // of whatever kind, a device's too: the gateway is told what and whose it is
            {
                LogStepFailed(Describe(fault));
                throw fault switch
                {
                    PlanMismatchException => Fault(StatusCode.FailedPrecondition, "plan", fault),
                    GroupLostException => Fault(StatusCode.Aborted, "peer", fault),
                    _ => Fault(StatusCode.Internal, "step", fault),
                };
            }
            await responses.WriteAsync(result, cancellation);
        }
    }

    private static RpcException Fault(StatusCode code, string kind, Exception fault) =>
        new(new Status(code, Describe(fault)), new Metadata { { FaultTrailer, kind } });

    /// <summary>The message; the type too where it is none of those whose messages are written for people.</summary>
    private static string Describe(Exception fault) =>
        fault is ModelLoadException or ShardingException or GroupLostException or PlanMismatchException or DeviceMemoryException or CudaDriverException
            ? fault.Message
            : $"{fault.GetType().Name}: {fault.Message}";

    [LoggerMessage(2001, LogLevel.Information, "Loaded: epoch {Epoch}, rank {Rank}, {Seconds:F2} s, {WeightBytes} weight bytes")]
    private partial void LogLoaded(long epoch, int rank, double seconds, long weightBytes);

    [LoggerMessage(2002, LogLevel.Error, "Load failed: epoch {Epoch}, rank {Rank}: {Reason}")]
    private partial void LogLoadFailed(long epoch, int rank, string reason);

    [LoggerMessage(2003, LogLevel.Error, "Step failed: {Reason}")]
    private partial void LogStepFailed(string reason);

    [LoggerMessage(2004, LogLevel.Information, "cuda-ipc is not to be had: epoch {Epoch}, rank {Rank}: {Reason}")]
    private partial void LogIpcRefused(long epoch, int rank, string reason);
}
