using TpServe.Gateway.Access;
using TpServe.Gateway.Answers;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.Anthropic;

/// <summary>POST /v1/messages and /v1/messages/count_tokens.</summary>
/// <remarks>anthropic-version may come and means nothing: one version is served.</remarks>
internal sealed class MessagesEndpoint(RequestParser parser, InferenceEngine engine, ServingModel model, ServingSettings settings, ServerClock clock)
{
    private const string RequestIdHeader = "request-id";

    /// <summary>What an answer's header calls the call; it gets a name where it has none.</summary>
    public static string RequestIdOf(HttpContext http)
    {
        string id = http.Response.Headers[RequestIdHeader].ToString();
        if (id.Length > 0)
            return id;
        id = $"req-{Guid.NewGuid():N}";
        if (!http.Response.HasStarted)
            Tell(http, id);
        return id;
    }

    /// <summary>Answers /v1/messages.</summary>
    public async Task CreateAsync(HttpContext http)
    {
        if (await ResumedStream.TryAsync(http, engine))
            return;
        engine.RequireRoom();
        MessagesBody body = await ReadAsync(http);
        if (body.MaxTokens is null)
            throw RequestRejectedException.Invalid("max_tokens", "'max_tokens' must be set.");
        ValidatedRequest request = (await parser.ParseAsync(MessagesTranslation.ToProto(body), MessagesTranslation.Conversation(body), cancellation: http.RequestAborted)).BoundTo(http);
        Tell(http, request.RequestId);
        MessageWriter writer = new($"msg_{Guid.NewGuid():N}", model.NameFor(request), request);
        if (body.Stream == true)
        {
            await StreamAsync(http, writer, request, seen: 0, null);
            return;
        }
        AnswerBlocks blocks = await AnswerBlocks.CollectAsync(AnswerStream.Of(request, engine.GenerateAsync(request, cancellation: http.RequestAborted)), http.RequestAborted);
        await JsonBody.WriteAsync(http, writer.Whole(blocks), MessagesJson.Api.MessageReply);
    }

    /// <summary>Answers /v1/messages/count_tokens.</summary>
    public async Task CountAsync(HttpContext http)
    {
        MessagesBody body = await ReadAsync(http);
        RequestIdOf(http);
        Conversation conversation = MessagesTranslation.WithTools(body, MessagesTranslation.ToProto(body));
        int tokens = (await parser.TokenizeAsync(body.Model, conversation, http.RequestAborted)).Count; // also beyond the context
        await JsonBody.WriteAsync(http, new TokenCountReply(tokens), MessagesJson.Api.TokenCountReply);
    }

    private async Task<MessagesBody> ReadAsync(HttpContext http)
    {
        MessagesBody body = await JsonBody.ReadAsync(http, MessagesJson.Api.MessagesBody, settings.Limits.BodyBytes);
        body.CallId = CallId.Given(http, settings.Limits);
        if ((body.RequestId ?? body.CallId) is { } id && settings.Limits.IsRequestId(id))
            Tell(http, id); // refusals carry it too
        return body;
    }

    private async Task StreamAsync(HttpContext http, MessageWriter writer, ValidatedRequest request, long seen, IAsyncEnumerable<GenerationEvent>? resumed)
    {
        SseStream events = new(http, request.RequestId, seen);
        ResumedStream.Presentation again = (call, seenThen, rest) => StreamAsync(call, writer, request, seenThen, rest);
        AnswerBlocks blocks = new();
        await foreach (GenerationEvent happened in events.KeptAliveAsync(
            AnswerStream.Of(request, resumed ?? engine.GenerateAsync(request, resumable: true, again, http.RequestAborted)), clock.Time))
        {
            if (happened is RecoveringEvent)
                await events.CommentAsync("recovering");
            IReadOnlyList<BlockStep> steps = blocks.Take(happened);
            if (happened is StartedEvent)
                await SendAsync(writer.Begin(blocks));
            await SendAsync(steps.Select(MessageWriter.Of));
        }
        await SendAsync(writer.End(blocks));
        events.End();

        async Task SendAsync(IEnumerable<MessageEvent> next)
        {
            foreach (MessageEvent one in next)
                await events.WriteAsync(one, MessagesJson.Api.MessageEvent, one.Type);
        }
    }

    private static void Tell(HttpContext http, string id)
    {
        CallId.Tell(http, id);
        http.Response.Headers[RequestIdHeader] = id;
    }
}
