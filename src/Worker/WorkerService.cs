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
/// Errors   ModelLoadException, ShardingException, PlanMismatchException → FailedPrecondition; a lost group → Unavailable.
/// </remarks>
internal sealed partial class WorkerService(RankHost rank, WorkerOptions options, IHostApplicationLifetime lifetime, ILogger<WorkerService> log) : WorkerControl.WorkerControlBase
{
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
        catch (Exception fault) when (fault is ModelLoadException or ShardingException or GroupLostException or ArgumentException or OutOfMemoryException or IOException or DeviceMemoryException or CudaDriverException)
        {
            LogLoadFailed(request.Epoch, request.Rank, fault.Message);
            throw new RpcException(new Status(StatusCode.FailedPrecondition, fault.Message));
        }
    }

    public override async Task Run(IAsyncStreamReader<StepPlan> requests, IServerStreamWriter<StepResult> responses, ServerCallContext context)
    {
        RankHost.StepLoop loop = rank.OpenLoop();
        try
        {
            while (await requests.MoveNext(context.CancellationToken))
                await responses.WriteAsync(await loop.RunAsync(requests.Current), context.CancellationToken);
        }
        catch (PlanMismatchException fault)
        {
            LogStepFailed(fault.Message);
            throw new RpcException(new Status(StatusCode.FailedPrecondition, fault.Message));
        }
        catch (GroupLostException fault)
        {
            LogStepFailed(fault.Message);
            throw new RpcException(new Status(StatusCode.Unavailable, fault.Message));
        }
        catch (OperationCanceledException) when (context.CancellationToken.IsCancellationRequested)
        {
            // The gateway has closed the stream.
        }
    }

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

    [LoggerMessage(2001, LogLevel.Information, "Loaded: epoch {Epoch}, rank {Rank}, {Seconds:F2} s, {WeightBytes} weight bytes")]
    private partial void LogLoaded(long epoch, int rank, double seconds, long weightBytes);

    [LoggerMessage(2002, LogLevel.Error, "Load failed: epoch {Epoch}, rank {Rank}: {Reason}")]
    private partial void LogLoadFailed(long epoch, int rank, string reason);

    [LoggerMessage(2003, LogLevel.Error, "Step failed: {Reason}")]
    private partial void LogStepFailed(string reason);

    [LoggerMessage(2004, LogLevel.Information, "cuda-ipc is not to be had: epoch {Epoch}, rank {Rank}: {Reason}")]
    private partial void LogIpcRefused(long epoch, int rank, string reason);
}
