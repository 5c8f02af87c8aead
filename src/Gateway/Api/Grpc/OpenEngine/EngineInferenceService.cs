using Grpc.Core;
using TpServe.Gateway.Access;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using Oe = TpServe.Protos.OpenEngine;

namespace TpServe.Gateway.Api.Grpc.OpenEngine;

/// <summary>openengine.v1.Inference: translates and streams; decides nothing.</summary>
/// <remarks>Errors: before the first event a status, as everywhere (<see cref="ErrorInterceptor"/>); after it, as the contract has it, an event and then OK.</remarks>
public sealed class EngineInferenceService(RequestParser parser, InferenceEngine engine, ServingModel model, ServingSettings settings, TokenTexts texts) : Oe.Inference.InferenceBase
{
    /// <inheritdoc/>
    public override async Task Generate(Oe.GenerateRequest request, IServerStreamWriter<Oe.GenerateResponse> responseStream, ServerCallContext context)
    {
        engine.RequireRoom();
        DateTimeOffset? deadline = context.Deadline == DateTime.MaxValue ? null : new DateTimeOffset(DateTime.SpecifyKind(context.Deadline, DateTimeKind.Utc));
        ValidatedRequest valid = (await parser.ParseAsync(EngineRequests.ToProto(request, context.RequestHeaders), deadline, context.CancellationToken)).BoundTo(context.GetHttpContext());
        EngineReplies replies = new(valid, model, texts);
        bool accepted = false;
        try
        {
            await foreach (GenerationEvent happened in engine.GenerateAsync(valid, cancellation: context.CancellationToken))
            {
                accepted = true;
                foreach (Oe.GenerateResponse reply in replies.Of(happened))
                    await responseStream.WriteAsync(reply, context.CancellationToken);
            }
        }
        catch (Exception failure) when (accepted && !context.CancellationToken.IsCancellationRequested)
        {
            await responseStream.WriteAsync(replies.Failed(ApiError.From(failure, engine.TimeToRoom() ?? settings.RetryAfter)), context.CancellationToken);
        }
    }

    /// <inheritdoc/>
    public override Task<Oe.EmbedResponse> Embed(Oe.EmbedRequest request, ServerCallContext context) => throw RequestRejectedException.Unimplemented("openengine.v1.Inference/Embed");

    /// <inheritdoc/>
    public override Task<Oe.ClassifyResponse> Classify(Oe.ClassifyRequest request, ServerCallContext context) => throw RequestRejectedException.Unimplemented("openengine.v1.Inference/Classify");

    /// <inheritdoc/>
    public override Task<Oe.ScoreResponse> Score(Oe.ScoreRequest request, ServerCallContext context) => throw RequestRejectedException.Unimplemented("openengine.v1.Inference/Score");
}
