using Grpc.Core;
using TpServe.Gateway.Access;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;
using Oe = TpServe.Protos.OpenEngine;

namespace TpServe.Gateway.Api.Grpc.OpenEngine;

/// <summary>openengine.v1.Control: translates; decides nothing.</summary>
/// <remarks>Errors: mapped once, in <see cref="ErrorInterceptor"/>.</remarks>
public sealed class EngineControlService(RequestParser parser, InferenceEngine engine, IWorkerGroup group, ServingModel model, ServingSettings settings, ServerClock clock)
    : Oe.Control.ControlBase
{
    private const int Revision = 2, MinimumClientRevision = 1;
    private const string Release = "v0.2.0";
    private const ulong NanosecondsPerTick = 100;
    private static readonly string s_instance = Guid.NewGuid().ToString("N");

    /// <inheritdoc/>
    public override Task<Oe.ServerInfo> GetServerInfo(Oe.GetServerInfoRequest request, ServerCallContext context) => Task.FromResult(new Oe.ServerInfo
    {
        EngineName = "tpserve",
        EngineVersion = ServerClock.Version,
        EngineRole = Oe.EngineRole.Aggregated,
        InstanceId = s_instance,
        SupportedModels = { model.Names },
        Parallelism = new Oe.ParallelismInfo { TensorParallelSize = (uint)group.Topology().Ranks.Count, PipelineParallelSize = 1, DataParallelSize = 1, DataParallelRank = 0 },
        KvConnector = new Oe.KvConnectorInfo { Enabled = false },
        SchemaRevision = Revision,
        MinimumClientRevision = MinimumClientRevision,
        SchemaRelease = Release,
    });

    /// <inheritdoc/>
    public override Task<Oe.ModelInfo> GetModelInfo(Oe.GetModelInfoRequest request, ServerCallContext context)
    {
        parser.RequireModel(request.Model);
        EngineLoad load = engine.Load();
        Oe.ModelInfo info = new()
        {
            ModelId = model.Name,
            ServedModelName = model.Name,
            ServedModelAliases = { model.OtherNames },
            MaxContextLength = (uint)settings.MaxModelLen,
            MaxOutputTokens = (uint)settings.MaxModelLen - 1,
            MaxRunningRequests = (ulong)settings.Scheduler.MaxSequences,
            MaxBatchedTokens = (ulong)settings.MaxStepTokens,
            SupportsTextInput = true,
            SupportsTokenIdsInput = true,
            SupportsLora = false,
            SupportsMultimodal = false,
            Generation = new Oe.GenerationCapabilities
            {
                PromptLogprobs = Logprobs(),
                OutputLogprobs = Logprobs(),
                GuidedDecoding = new Oe.GuidedDecodingCapabilities
                {
                    Supported = true,
                    Modes = { Oe.GuidedDecodingMode.JsonSchema, Oe.GuidedDecodingMode.Regex, Oe.GuidedDecodingMode.EbnfGrammar, Oe.GuidedDecodingMode.Choice, Oe.GuidedDecodingMode.JsonObject },
                },
                MaxNumSequences = (uint)settings.Limits.Outputs,
                SupportsPriority = true,
                SupportsStopInOutput = true,
                SupportsCacheSalt = true,
                SupportsPrefixCacheBypass = true,
            },
        };
        if (load.TotalBlocks > 0)
            (info.KvBlockSize, info.TotalKvBlocks) = ((uint)load.BlockTokens, (ulong)load.TotalBlocks);
        return Task.FromResult(info);
    }

    /// <inheritdoc/>
    public override Task<Oe.LoadInfo> GetLoad(Oe.GetLoadRequest request, ServerCallContext context)
    {
        EngineLoad load = engine.Load();
        return Task.FromResult(new Oe.LoadInfo
        {
            InstanceId = s_instance,
            TimestampUnixNanos = (ulong)(clock.Time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * NanosecondsPerTick,
            RunningRequests = (uint)load.RunningSequences,
            QueuedRequests = (uint)load.WaitingSequences,
            UsedKvBlocks = (ulong)load.UsedBlocks,
            TotalKvBlocks = (ulong)load.TotalBlocks,
            WaitingTokens = (ulong)load.WaitingTokens,
        });
    }

    /// <inheritdoc/>
    public override Task<Oe.HealthResponse> Health(Oe.HealthRequest request, ServerCallContext context)
    {
        EngineRequests.Refuse("include_inference_probe", request.IncludeInferenceProbe);
        Oe.HealthState model = group.State switch
        {
            GroupState.Ready => Oe.HealthState.Ready,
            GroupState.Starting => Oe.HealthState.Starting,
            _ => Oe.HealthState.NotReady,
        };
        Oe.HealthState scheduler = engine.Load().Draining ? Oe.HealthState.Draining : Oe.HealthState.Ready;
        return Task.FromResult(new Oe.HealthResponse
        {
            State = scheduler == Oe.HealthState.Ready ? model : scheduler,
            Checks =
            {
                new Oe.HealthCheck { Name = "scheduler", State = scheduler },
                new Oe.HealthCheck { Name = "model", State = model, Message = group.Outage ?? "" },
            },
        });
    }

    /// <inheritdoc/>
    public override Task<Oe.AbortResponse> Abort(Oe.AbortRequest request, ServerCallContext context)
    {
        EngineRequests.Refuse("kv_session", request.TargetCase == Oe.AbortRequest.TargetOneofCase.KvSession);
        EngineRequests.Refuse("all_requests", request.TargetCase == Oe.AbortRequest.TargetOneofCase.AllRequests);
        if (request.TargetCase == Oe.AbortRequest.TargetOneofCase.None)
            throw RequestRejectedException.Invalid("request_id", "A target must be set.");
        return engine.Abort(request.RequestId, Caller.Of(context.GetHttpContext()))
            ? Task.FromResult(new Oe.AbortResponse { Status = Oe.AbortStatus.Aborted })
            : throw new RequestRejectedException(StatusCode.NotFound, "REQUEST_NOT_FOUND", "No request of that name is in flight.", "request_id");
    }

    /// <inheritdoc/>
    public override async Task Drain(Oe.DrainRequest request, IServerStreamWriter<Oe.DrainResponse> responseStream, ServerCallContext context)
    {
        EngineRequests.Refuse("abort_after_deadline", request.AbortAfterDeadline);
        if (!request.StopAcceptingNewRequests)
            throw RequestRejectedException.Invalid("stop_accepting_new_requests", "'stop_accepting_new_requests' must be true.");
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        if (request.HasDeadlineMs)
            over.CancelAfter(TimeSpan.FromMilliseconds(request.DeadlineMs));
        Task<int> drained = engine.DrainAsync(over.Token);
        await responseStream.WriteAsync(new Oe.DrainResponse { State = Oe.DrainState.Started }, context.CancellationToken);
        int left = await drained;
        await responseStream.WriteAsync(
            left == 0
                ? new Oe.DrainResponse { State = Oe.DrainState.Complete, InFlightRequests = 0 }
                : new Oe.DrainResponse { Error = new Oe.EngineError { Code = Oe.ErrorCode.Cancelled, Message = "The deadline came before every request had ended.", Retryable = true }, InFlightRequests = (uint)left },
            context.CancellationToken);
    }

    /// <inheritdoc/>
    public override Task<Oe.KvConnectorInfo> GetKvConnectorInfo(Oe.GetKvConnectorInfoRequest request, ServerCallContext context) => Task.FromResult(new Oe.KvConnectorInfo { Enabled = false });

    /// <inheritdoc/>
    public override Task<Oe.GetKvEventSourcesResponse> GetKvEventSources(Oe.GetKvEventSourcesRequest request, ServerCallContext context) => Task.FromResult(new Oe.GetKvEventSourcesResponse());

    /// <inheritdoc/>
    public override Task<Oe.LoadLoraResponse> LoadLora(Oe.LoadLoraRequest request, ServerCallContext context) => throw RequestRejectedException.Unimplemented("openengine.v1.Control/LoadLora");

    /// <inheritdoc/>
    public override Task<Oe.UnloadLoraResponse> UnloadLora(Oe.UnloadLoraRequest request, ServerCallContext context) => throw RequestRejectedException.Unimplemented("openengine.v1.Control/UnloadLora");

    /// <inheritdoc/>
    public override Task<Oe.ListLorasResponse> ListLoras(Oe.ListLorasRequest request, ServerCallContext context) => throw RequestRejectedException.Unimplemented("openengine.v1.Control/ListLoras");

    /// <inheritdoc/>
    public override Task SubscribeKvEvents(Oe.SubscribeKvEventsRequest request, IServerStreamWriter<Oe.SubscribeKvEventsResponse> responseStream, ServerCallContext context) =>
        throw RequestRejectedException.Unimplemented("openengine.v1.Control/SubscribeKvEvents");

    /// <inheritdoc/>
    public override Task SubscribeRuntimeEvents(
        Oe.SubscribeRuntimeEventsRequest request, IServerStreamWriter<Oe.SubscribeRuntimeEventsResponse> responseStream, ServerCallContext context) =>
        throw RequestRejectedException.Unimplemented("openengine.v1.Control/SubscribeRuntimeEvents");

    private Oe.LogprobCapabilities Logprobs() => new() { Supported = true, CandidateSelectionModes = { Oe.CandidateTokenSelectionMode.TopN }, MaxTopN = (uint)settings.Limits.TopLogprobs };
}
