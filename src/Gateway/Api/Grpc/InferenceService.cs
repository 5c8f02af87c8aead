using Google.Protobuf;
using Grpc.Core;
using TpServe.Gateway.Access;
using TpServe.Gateway.Answers;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.Grpc;

/// <summary>tpserve.v1.Inference: translates and streams; decides nothing.</summary>
/// <remarks>Errors: mapped once, in <see cref="ErrorInterceptor"/>. A client that goes away cancels the token; its blocks are free at the next step.</remarks>
public sealed class InferenceService(
    RequestParser parser, InferenceEngine engine, ProtoReplies replies, ServingModel model, ServingSettings settings, TokenTexts texts)
    : Inference.InferenceBase
{
    /// <inheritdoc/>
    public override async Task<GenerateResponse> Generate(GenerateRequest request, ServerCallContext context) =>
        await AnswerAsync((await parser.ParseAsync(WithRoom(request), Deadline(context), context.CancellationToken)).BoundTo(context.GetHttpContext()), context);

    /// <inheritdoc/>
    public override async Task GenerateStream(GenerateRequest request, IServerStreamWriter<GenerateEvent> responseStream, ServerCallContext context) =>
        await StreamAsync((await parser.ParseAsync(WithRoom(request), Deadline(context), context.CancellationToken)).BoundTo(context.GetHttpContext()), responseStream, context);

    /// <inheritdoc/>
    public override async Task<GenerateResponse> Chat(ChatRequest request, ServerCallContext context) =>
        await AnswerAsync((await parser.ParseAsync(WithRoom(request), deadline: Deadline(context), cancellation: context.CancellationToken)).BoundTo(context.GetHttpContext()), context);

    /// <inheritdoc/>
    public override async Task ChatStream(ChatRequest request, IServerStreamWriter<GenerateEvent> responseStream, ServerCallContext context) =>
        await StreamAsync((await parser.ParseAsync(WithRoom(request), deadline: Deadline(context), cancellation: context.CancellationToken)).BoundTo(context.GetHttpContext()), responseStream, context);

    /// <inheritdoc/>
    public override async Task<TokenizeResponse> Tokenize(TokenizeRequest request, ServerCallContext context)
    {
        IReadOnlyList<int> ids = await parser.TokenizeAsync(request, Deadline(context), context.CancellationToken);
        TokenizeResponse response = new() { MaxModelLen = settings.MaxModelLen };
        response.TokenIds.AddRange(ids);
        Dictionary<int, ByteString> known = []; // a long text has a token many times
        response.TokenBytes.AddRange(ids.Select(id => known.TryGetValue(id, out ByteString? bytes) ? bytes : known[id] = ByteString.CopyFrom(texts.Bytes(id).Span)));
        return response;
    }

    /// <inheritdoc/>
    public override Task<DetokenizeResponse> Detokenize(DetokenizeRequest request, ServerCallContext context)
    {
        parser.RequireModel(request.HasModel ? request.Model : null);
        parser.RequireTokens("token_ids", request.TokenIds);
        return Task.FromResult(new DetokenizeResponse { Text = model.Tokenizer.Decode(request.TokenIds, request.SkipSpecialTokens) });
    }

    /// <inheritdoc/>
    public override async Task<EmbedResponse> Embed(EmbedRequest request, ServerCallContext context)
    {
        ValidatedRequest valid = (await parser.ParseAsync(WithRoom(request), Deadline(context), context.CancellationToken)).BoundTo(context.GetHttpContext());
        return replies.Embeddings(valid, await EmbeddingResult.CollectAsync(engine, valid, context.CancellationToken));
    }

    /// <inheritdoc/>
    public override Task ResumeStream(ResumeStreamRequest request, IServerStreamWriter<GenerateEvent> responseStream, ServerCallContext context) =>
        WriteAsync(
            engine.FindResumable(request.RequestId, Caller.Of(context.GetHttpContext())).Request,
            engine.ResumeAsync(request.RequestId, Caller.Of(context.GetHttpContext()), context.CancellationToken), request.AfterSeq, responseStream, context);

    /// <summary>A request that the queue has no room for is refused before anything is done for it.</summary>
    private T WithRoom<T>(T request)
    {
        engine.RequireRoom();
        return request;
    }

    private async Task<GenerateResponse> AnswerAsync(ValidatedRequest request, ServerCallContext context)
    {
        CancellationToken left = context.CancellationToken;
        return replies.Response(request, await GenerationResult.CollectAsync(AnswerStream.Of(request, engine.GenerateAsync(request, cancellation: left)), request.Outputs, left));
    }

    private Task StreamAsync(ValidatedRequest request, IServerStreamWriter<GenerateEvent> events, ServerCallContext context) =>
        WriteAsync(request, engine.GenerateAsync(request, resumable: true, cancellation: context.CancellationToken), seen: 0, events, context);

    /// <summary>Writes a stream's events; those the client has seen before it lost its connection are counted and not sent.</summary>
    private async Task WriteAsync(
        ValidatedRequest request, IAsyncEnumerable<GenerationEvent> happening, ulong seen, IServerStreamWriter<GenerateEvent> events, ServerCallContext context)
    {
        ulong seq = 0;
        await foreach (GenerationEvent happened in AnswerStream.Of(request, happening))
            if ((happened is not RecoveringEvent || request.TellRecovering) && ++seq > seen)
                await events.WriteAsync(replies.Event(request, happened, seq), context.CancellationToken);
        if (seq < seen)
            throw RequestRejectedException.Invalid("after_seq", $"'after_seq' is {seen}; the stream has {seq} events.");
    }

    private static DateTimeOffset? Deadline(ServerCallContext context) =>
        context.Deadline == DateTime.MaxValue ? null : new DateTimeOffset(DateTime.SpecifyKind(context.Deadline, DateTimeKind.Utc));
}
