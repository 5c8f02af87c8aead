using Google.Protobuf;
using Grpc.Core;
using TpServe.Gateway.Access;
using TpServe.Gateway.Adapters;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Reports;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.Grpc;

/// <summary>tpserve.v1.Control: translates; decides nothing.</summary>
/// <remarks>Errors: mapped once, in <see cref="ErrorInterceptor"/>.</remarks>
public sealed class ControlService(
    InferenceEngine engine, IWorkerGroup group, ServingModel model, ServingSettings settings, ServerFacts facts)
    : Control.ControlBase
{
    /// <inheritdoc/>
    public override Task<GetServerInfoResponse> GetServerInfo(GetServerInfoRequest request, ServerCallContext context) => Task.FromResult(facts.Info());

    /// <inheritdoc/>
    public override Task<ListModelsResponse> ListModels(ListModelsRequest request, ServerCallContext context) =>
        Task.FromResult(new ListModelsResponse
        {
            Models =
            {
                model.Names.Select(name => new ModelInfo
                {
                    Id = name,
                    Architecture = model.Config.Architecture,
                    Vocabulary = model.Config.Vocab,
                    MaxModelLen = settings.MaxModelLen,
                    Layers = model.Config.Layers,
                    Hidden = model.Config.Hidden,
                    Heads = model.Config.Heads,
                    KvHeads = model.Config.KvHeads,
                    Pooling = model.Pooling.Unserved is null ? Words.Poolings.Of(model.Pooling.Pooling) : "",
                }),
            },
        });

    /// <inheritdoc/>
    public override Task<GetTopologyResponse> GetTopology(GetTopologyRequest request, ServerCallContext context) => Task.FromResult(group.Topology());

    /// <inheritdoc/>
    public override async Task TraceSteps(TraceStepsRequest request, IServerStreamWriter<TracedStep> responseStream, ServerCallContext context)
    {
        await foreach (TracedStep step in group.TraceAsync(request.Steps, context.CancellationToken))
            await responseStream.WriteAsync(step, context.CancellationToken);
    }

    /// <inheritdoc/>
    public override Task<GetLoadResponse> GetLoad(GetLoadRequest request, ServerCallContext context) => Task.FromResult(facts.Load());

    /// <inheritdoc/>
    public override Task<AbortResponse> Abort(AbortRequest request, ServerCallContext context)
    {
        if (!request.HasRequestId)
            throw RequestRejectedException.Invalid("request_id", "'request_id' must be set.");
        if (!engine.Abort(request.RequestId, Caller.Of(context.GetHttpContext())))
            throw new RequestRejectedException(
                StatusCode.NotFound, "REQUEST_NOT_FOUND", "No request of that name is in flight.", "request_id");
        return Task.FromResult(new AbortResponse());
    }

    /// <inheritdoc/>
    public override async Task<DrainResponse> Drain(DrainRequest request, ServerCallContext context) =>
        new() { RemainingRequests = await engine.DrainAsync(context.CancellationToken) };

    /// <inheritdoc/>
    public override Task<FlushPrefixCacheResponse> FlushPrefixCache(FlushPrefixCacheRequest request, ServerCallContext context) =>
        Task.FromResult(new FlushPrefixCacheResponse { Blocks = engine.FlushCache() });

    /// <inheritdoc/>
    public override async Task<ReshardResponse> Reshard(ReshardRequest request, ServerCallContext context)
    {
        ReshardResponse response = new();
        if (await group.ReshardAsync(request.Weights, request.WhenIdle ? MoveWish.WhenIdle : MoveWish.Now, context.CancellationToken) is { } move)
            response.Move = move;
        return response;
    }

    /// <inheritdoc/>
    public override async Task<LoadLoraResponse> LoadLora(LoadLoraRequest request, ServerCallContext context)
    {
        if (!request.HasName || !request.HasPath)
            throw RequestRejectedException.Invalid(request.HasName ? "path" : "name", "'name' and 'path' must be set.");
        ServedLora lora = await model.Loras.LoadAsync(request.Name, request.Path, model.Names, group, context.CancellationToken);
        return new LoadLoraResponse { Lora = new LoraInfo { Name = lora.Name } };
    }

    /// <inheritdoc/>
    public override Task<UnloadLoraResponse> UnloadLora(UnloadLoraRequest request, ServerCallContext context) =>
        Task.FromResult(new UnloadLoraResponse { RunningRequests = model.Loras.Unload(request.Name) });

    /// <inheritdoc/>
    public override Task<ListLorasResponse> ListLoras(ListLorasRequest request, ServerCallContext context) => Task.FromResult(new ListLorasResponse
    {
        Loras = { model.Loras.All.Select(one => new LoraInfo { Name = one.Lora.Name, RunningRequests = one.Requests, Leaving = one.Leaving }) },
    });

    /// <inheritdoc/>
    public override async Task<GetTpReportResponse> GetTpReport(GetTpReportRequest request, ServerCallContext context)
    {
        try
        {
            return new GetTpReportResponse
            {
                Report = await ReportFiles.ReadReportAsync(settings.ReportFolder, context.CancellationToken)
                    ?? throw new RequestRejectedException(StatusCode.NotFound, "REPORT_NOT_FOUND", ReportFiles.Missing(settings.ReportFolder)),
            };
        }
        catch (Exception fault) when (fault is InvalidProtocolBufferException or InvalidJsonException)
        {
            throw new RequestRejectedException(StatusCode.DataLoss, "REPORT_UNREADABLE", "What lies in the report's folder is no report of this release.");
        }
    }
}
