using TpServe.Gateway.Access;
using TpServe.Gateway.Answers;
using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>POST /v1/chat/completions.</summary>
internal sealed class ChatEndpoint(
    RequestParser parser, InferenceEngine engine, ServingModel model, ServingSettings settings, TokenTexts texts, ServerClock clock)
{
    private readonly TokenReports _reports = new(texts);

    /// <summary>Answers one call.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        if (await ResumedStream.TryAsync(http, engine))
            return;
        engine.RequireRoom();
        ChatBody body = await JsonBody.ReadAsync(http, OpenAiJson.Api.ChatBody, settings.Limits.BodyBytes);
        body.CallId = CallId.Given(http, settings.Limits);
        StreamChoice stream = StreamChoice.Of(body);
        ValidatedRequest request = (await parser.ParseAsync(RequestTranslation.ToProto(body), ConversationReader.Read(body), cancellation: http.RequestAborted)).BoundTo(http);
        CallId.Tell(http, request.RequestId);
        string id = body.RequestId ?? $"chatcmpl-{request.RequestId}";
        if (stream.Streams)
            await StreamAsync(http, new ChatChunk { Id = id, Created = clock.Now, Model = model.NameFor(request), Choices = [], Usage = stream.UsageOfChunks }, stream, request, seen: 0, null);
        else
            await AnswerAsync(http, id, request);
    }

    private async Task AnswerAsync(HttpContext http, string id, ValidatedRequest request)
    {
        GenerationResult result = (await GenerationBatch.CollectAsync(engine, [request], http.RequestAborted))[0];
        ChatReply reply = new()
        {
            Id = id,
            Created = clock.Now,
            Model = model.NameFor(request),
            Choices = [.. result.Outputs.Select((output, index) => new ChatChoice
            {
                Index = index,
                Message = new ChatMessageReply(output is { Text.Length: 0, ToolCalls.Count: > 0 } ? null : output.Text)
                {
                    ReasoningContent = output.Reasoning.Length > 0 ? output.Reasoning : null,
                    ToolCalls = Calls(output.ToolCalls, isStream: false),
                },
                Logprobs = request.Logprobs is not null ? _reports.Chat(output.Tokens) : null,
                FinishReason = FinishReasons.Of(output.Finished),
                StopReason = FinishReasons.StopOf(output.Finished),
                PromptLogprobs = request.PromptLogprobs is null ? null : _reports.Prompt(result.PromptTokens),
                PromptTokenIds = request.ReturnTokenIds ? request.PromptTokens : null,
                TokenIds = request.ReturnTokenIds ? [.. output.Tokens.Select(token => token.Id)] : null,
            })],
            Usage = Usage(result.Totals),
        };
        await JsonBody.WriteAsync(http, reply, OpenAiJson.Api.ChatReply);
    }

    /// <param name="http">The call.</param>
    /// <param name="head">What every chunk has in common, the same for a client that comes back.</param>
    /// <param name="stream">What the client wants of the stream.</param>
    /// <param name="request">What is asked.</param>
    /// <param name="seen">Events that the client saw before it lost its connection.</param>
    /// <param name="resumed">The events of a request that runs already; null = it begins now.</param>
    private async Task StreamAsync(HttpContext http, ChatChunk head, StreamChoice stream, ValidatedRequest request, long seen, IAsyncEnumerable<GenerationEvent>? resumed)
    {
        SseStream events = new(http, request.RequestId, seen);
        ResumedStream.Presentation again = (call, seenThen, rest) => StreamAsync(call, head, stream, request, seenThen, rest);
        RequestTotals? totals = null;
        await foreach (GenerationEvent happened in events.KeptAliveAsync(AnswerStream.Of(request, resumed ?? engine.GenerateAsync(request, resumable: true, again, http.RequestAborted)), clock.Time))
        {
            totals = (happened as FinishedEvent)?.Totals ?? totals;
            if (happened is RecoveringEvent)
                await events.CommentAsync("recovering");
            foreach (ChatChunkChoice choice in Choices(happened, request))
                await events.WriteAsync(head with { Choices = [choice] }, OpenAiJson.Api.ChatChunk);
        }
        if (stream.TellsUsage && totals is not null)
            await events.WriteAsync(head with { Usage = Usage(totals) }, OpenAiJson.Api.ChatChunk);
        await events.DoneAsync();
    }

    private IEnumerable<ChatChunkChoice> Choices(GenerationEvent happened, ValidatedRequest request) => happened switch
    {
        StartedEvent => Enumerable.Range(0, request.Outputs).Select(output => new ChatChunkChoice
        {
            Index = output,
            Delta = new ChatDelta { Role = "assistant", Content = "" },
            PromptTokenIds = request.ReturnTokenIds ? request.PromptTokens : null,
        }),
        DeltaEvent delta =>
        [
            new ChatChunkChoice
            {
                Index = delta.OutputIndex,
                Delta = new ChatDelta
                {
                    Content = delta.Text.Length == 0 && (delta.Reasoning.Length > 0 || delta.ToolCalls.Count > 0) ? null : delta.Text,
                    ReasoningContent = delta.Reasoning.Length > 0 ? delta.Reasoning : null,
                    ToolCalls = Calls(delta.ToolCalls, isStream: true),
                },
                Logprobs = request.Logprobs is not null ? _reports.Chat(delta.Tokens) : null,
                PromptLogprobs = delta.PromptTokens.Count > 0 ? _reports.Prompt(delta.PromptTokens) : null,
                TokenIds = request.ReturnTokenIds ? [.. delta.Tokens.Select(token => token.Id)] : null,
            },
        ],
        FinishedEvent finished =>
        [
            new ChatChunkChoice
            {
                Index = finished.OutputIndex,
                Delta = new ChatDelta(),
                FinishReason = FinishReasons.Of(finished),
                StopReason = FinishReasons.StopOf(finished),
            },
        ],
        _ => [],
    };

    private static ToolCallReply[]? Calls(IReadOnlyList<ToolCallPiece> calls, bool isStream) => calls.Count == 0 ? null :
    [
        .. calls.Select(call => new ToolCallReply
        {
            Index = isStream ? call.Index : null,
            Id = call.Id,
            Type = call.Id is null ? null : "function",
            Function = new FunctionReply(call.Name, call.Arguments),
        }),
    ];

    private static UsageReply Usage(RequestTotals totals) => new(totals.PromptTokens, totals.CompletionTokens, totals.CachedTokens, totals.ReasoningTokens);
}
