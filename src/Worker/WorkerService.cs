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
/// Errors   Load: FailedPrecondition, whatever it was, with a trailer that tells it from a broken link. Run: a StepFault in the last result.
/// </remarks>
internal sealed partial class WorkerService(RankHost rank, GatewayHold hold, WorkerOptions options, IHostApplicationLifetime lifetime, ILogger<WorkerService> log) : WorkerControl.WorkerControlBase
{
    /// <summary>Metadata entry that says whose fault ended a load.</summary>
    private const string FaultTrailer = "tpserve-fault";

    /// <summary>Plans read ahead of the rank; the gateway keeps two steps in flight.</summary>
    private const int MostStepsAhead = 8;

    public override async Task<HelloReply> Hello(HelloRequest request, ServerCallContext context)
    {
        // Off the server's threads: a driver may take seconds to wake its GPUs.
        HelloReply reply = await Task.Run(() => HostFacts.Describe(request.SurveyGpus));
        reply.Pid = Environment.ProcessId;
        reply.RingAddress = options.Advertise.Length > 0 ? options.Advertise : options.Listen.Address(options.Tls.Length > 0 ? "https" : "http");
        return reply;
    }

    public override async Task Hold(HoldRequest request, IServerStreamWriter<HoldReply> responses, ServerCallContext context)
    {
        TaskCompletionSource over = new(TaskCreationOptions.RunContinuationsAsynchronously); // the gateway has gone or holds the worker by another call, or the worker stops
        using CancellationTokenRegistration gone = context.CancellationToken.Register(() => over.TrySetResult()), stops = lifetime.ApplicationStopping.Register(() => over.TrySetResult());
        if (hold.TryTake(request.GatewayId, request.Gateway, over) is { } holder)
            throw new RpcException(new Status(StatusCode.AlreadyExists, holder));
        LogHeld(request.Gateway);
        try
        {
            await responses.WriteAsync(new HoldReply(), context.CancellationToken);
            await over.Task;
        }
        catch (Exception) when (context.CancellationToken.IsCancellationRequested)
        {
            // Nobody is there to be answered.
        }
        finally
        {
            if (hold.Release(over))
                LogReleased(request.Gateway);
        }
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

    public override async Task<MeasureReply> Measure(MeasureRequest request, ServerCallContext context)
    {
        try
        {
            return await rank.MeasureAsync(request);
        }
        catch (Exception fault) // a device that is missing or too small says so by many types, and each is a reason
        {
            throw new RpcException(new Status(StatusCode.FailedPrecondition, Describe(fault)));
        }
    }

    public override async Task<MeasureLinkReply> MeasureLink(MeasureLinkRequest request, ServerCallContext context)
    {
        using CancellationTokenRegistration gone = context.CancellationToken.Register(() => rank.Revoke(request.Epoch, "the gateway waits no longer"));
        try
        {
            return await rank.MeasureLinkAsync(request);
        }
        catch (Exception fault) // as above
        {
            throw new RpcException(new Status(StatusCode.FailedPrecondition, Describe(fault)));
        }
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
            throw new RpcException(
                new Status(StatusCode.FailedPrecondition, Describe(fault)), new Metadata { { FaultTrailer, fault is GroupLostException ? "peer" : "load" } });
        }
    }

    public override async Task<LoadLoraReply> LoadLora(LoadLoraRequest request, ServerCallContext context)
    {
        try
        {
            await rank.LoadLoraAsync(request);
            return new LoadLoraReply();
        }
        catch (Exception fault) // of whatever kind: the gateway is told, and the rank goes on without it
        {
            throw new RpcException(new Status(StatusCode.FailedPrecondition, Describe(fault)));
        }
    }

    public override async Task<UnloadLoraReply> UnloadLora(UnloadLoraRequest request, ServerCallContext context)
    {
        await rank.UnloadLoraAsync(request.Id);
        return new UnloadLoraReply();
    }

    public override async Task Run(IAsyncStreamReader<RunRequest> requests, IServerStreamWriter<StepResult> responses, ServerCallContext context)
    {
        // Plans are read here and handed to the rank at once, another task answers in order: the rank never waits for the network between two steps.
        // A call is never left while it is read from, or the server hands the stream to another call with that read still in it: so a fault is an answer, too.
        OpenedLoop loop = rank.OpenLoop();
        Channel<Task<StepResult?>> steps = Channel.CreateBounded<Task<StepResult?>>(new BoundedChannelOptions(MostStepsAhead) { SingleReader = true, SingleWriter = true });
        Task answering = AnswerAsync(steps.Reader, responses, context.CancellationToken);
        try
        {
            while (await requests.MoveNext(context.CancellationToken))
            {
                if (requests.Current.ContentCase == RunRequest.ContentOneofCase.Masks)
                    loop.Masks.Post(requests.Current.Masks);
                else
                    await steps.Writer.WriteAsync(loop.Run(requests.Current.Step ?? new StepPlan()), context.CancellationToken);
            }
            steps.Writer.Complete();
            loop.Masks.Close("the gateway has no more to say");
            await answering;
        }
        catch (Exception) when (context.CancellationToken.IsCancellationRequested)
        {
            // The gateway has gone, or has given the stream up; so the answers end too.
        }
        finally
        {
            loop.Masks.Close("the gateway has gone");
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

    private async Task AnswerAsync(ChannelReader<Task<StepResult?>> steps, IServerStreamWriter<StepResult> responses, CancellationToken cancellation)
    {
        bool failed = false;
        await foreach (Task<StepResult?> step in steps.ReadAllAsync(cancellation))
        {
            StepResult? result;
            try
            {
                result = await step;
            }
            catch (Exception fault) // of whatever kind, a device's too: the gateway is told what and whose it is
            {
                if (failed)
                    continue; // what was sent before the gateway knew
                failed = true;
                LogStepFailed(Describe(fault));
                result = new StepResult { Fault = new StepFault { Kind = KindOf(fault), Reason = Describe(fault) } };
            }
            if (result is not null)
                await responses.WriteAsync(result, cancellation);
        }
    }

    private static StepFault.Types.Kind KindOf(Exception fault) => fault switch
    {
        PlanMismatchException => StepFault.Types.Kind.Plan,
        GroupLostException => StepFault.Types.Kind.Peer,
        _ => StepFault.Types.Kind.Step,
    };

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

    [LoggerMessage(2005, LogLevel.Information, "Held by gateway {Gateway}")]
    private partial void LogHeld(string gateway);

    [LoggerMessage(2006, LogLevel.Information, "Free: gateway {Gateway} has gone")]
    private partial void LogReleased(string gateway);

    [LoggerMessage(2004, LogLevel.Information, "cuda-ipc is not to be had: epoch {Epoch}, rank {Rank}: {Reason}")]
    private partial void LogIpcRefused(long epoch, int rank, string reason);
}
