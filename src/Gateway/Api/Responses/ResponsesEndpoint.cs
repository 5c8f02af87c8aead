using System.Globalization;
using System.Text.Json.Nodes;
using Grpc.Core;
using TpServe.Gateway.Access;
using TpServe.Gateway.Answers;
using TpServe.Gateway.Api.OpenAi;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.Responses;

/// <summary>/v1/responses: makes responses, keeps them, and tells or forgets those that are kept.</summary>
internal sealed class ResponsesEndpoint(
    RequestParser parser, InferenceEngine engine, ServingModel model, ServingSettings settings, TokenTexts texts, ServerClock clock, ResponseStore store, HttpErrors errors)
{
    private const int DefaultItems = 20, MostItems = 100;

    private readonly TokenReports _reports = new(texts);

    /// <summary>POST /v1/responses. 1. what is asked, after what was said before, 2. the answer, at once or as it comes, 3. it is kept.</summary>
    public async Task CreateAsync(HttpContext http)
    {
        if (await ResumedStream.TryAsync(http, engine))
            return;
        engine.RequireRoom();
        ResponsesBody body = await JsonBody.ReadAsync(http, ResponsesJson.Api.ResponsesBody, settings.Limits.BodyBytes);
        body.CallId = CallId.Given(http, settings.Limits);

        // 1.
        string tail = Guid.NewGuid().ToString("N");
        Protos.V1.ChatRequest asked = ResponsesTranslation.ToProto(body);
        ConversationBuilder conversation = new(body.PreviousResponseId is { } previous ? store.Get(previous, Caller.Of(http), "previous_response_id").Messages : []);
        InputReader input = new(conversation, tail);
        input.Read(body.Input);
        ValidatedRequest request = (await parser.ParseAsync(asked, Conversation(body, conversation), cancellation: http.RequestAborted)).BoundTo(http);
        CallId.Tell(http, request.RequestId);
        ResponseReply begun = Begun($"resp_{tail}", body, request);

        // 2.
        if (body.Stream == true)
        {
            await StreamAsync(http, begun, request, Keep, seen: 0, null);
            return;
        }
        AnswerBlocks blocks = await AnswerBlocks.CollectAsync(AnswerStream.Of(request, engine.GenerateAsync(request, cancellation: http.RequestAborted)), http.RequestAborted);
        ResponseReply whole = new ResponseWriter(begun, request, clock, _reports).Whole(blocks);
        Keep(whole, blocks);
        await JsonBody.WriteAsync(http, whole, ResponsesJson.Api.ResponseReply);

        // 3.
        void Keep(ResponseReply whole, AnswerBlocks blocks)
        {
            if (!whole.Store)
                return;
            ConversationBuilder all = new(conversation.Messages);
            ResponseWriter.Append(blocks, all);
            store.Add(new StoredResponse(whole, input.Items, all.Messages, request.Owner));
        }
    }

    /// <summary>GET /v1/responses/{id}.</summary>
    public Task GetAsync(HttpContext http) => bool.TryParse(http.Request.Query["stream"], out bool streams) && streams
        ? throw RequestRejectedException.Unimplemented("stream") : JsonBody.WriteAsync(http, store.Get(IdOf(http), Caller.Of(http)).Reply, ResponsesJson.Api.ResponseReply);

    /// <summary>DELETE /v1/responses/{id}.</summary>
    public Task DeleteAsync(HttpContext http)
    {
        store.Remove(IdOf(http), Caller.Of(http));
        return JsonBody.WriteAsync(http, new DeletedReply(IdOf(http)), ResponsesJson.Api.DeletedReply);
    }

    /// <summary>GET /v1/responses/{id}/input_items: those of its own input, the newest first unless asked otherwise.</summary>
    public Task InputItemsAsync(HttpContext http)
    {
        StoredResponse response = store.Get(IdOf(http), Caller.Of(http));
        IQueryCollection query = http.Request.Query;
        int limit = !query.ContainsKey("limit") ? DefaultItems
            : int.TryParse(query["limit"], NumberStyles.None, CultureInfo.InvariantCulture, out int given) && given is >= 1 and <= MostItems ? given
            : throw RequestRejectedException.OutOfRange("limit", "another number", $"1 to {MostItems}");
        IEnumerable<JsonObject> items = query["order"].ToString() switch
        {
            "asc" => response.Input,
            "" or "desc" => response.Input.Reverse(),
            _ => throw RequestRejectedException.OutOfRange("order", "another word", "asc or desc"),
        };
        if (query["after"].ToString() is { Length: > 0 } after)
            items = items.SkipWhile(item => item["id"]?.ToString() != after).Skip(1);
        JsonObject[] rest = [.. items], page = [.. rest.Take(limit)];
        InputItemsReply reply = new(page, page.FirstOrDefault()?["id"]?.ToString(), page.LastOrDefault()?["id"]?.ToString(), rest.Length > page.Length);
        return JsonBody.WriteAsync(http, reply, ResponsesJson.Api.InputItemsReply);
    }

    /// <summary>POST /v1/responses/{id}/cancel: only what runs in the background can be cancelled, and nothing does; a client that leaves its stream ends it.</summary>
    public Task CancelAsync(HttpContext http)
    {
        StoredResponse response = store.Get(IdOf(http), Caller.Of(http));
        throw new RequestRejectedException(
            StatusCode.FailedPrecondition, "RESPONSE_ENDED", $"Response '{response.Reply.Id}' is {response.Reply.Status}: only responses in the background can be cancelled, which are not served here.");
    }

    private async Task StreamAsync(
        HttpContext http, ResponseReply begun, ValidatedRequest request, Action<ResponseReply, AnswerBlocks> keep, long seen, IAsyncEnumerable<GenerationEvent>? resumed)
    {
        SseStream events = new(http, request.RequestId, seen);
        ResumedStream.Presentation again = (call, seenThen, rest) => StreamAsync(call, begun, request, keep, seenThen, rest);
        ResponseWriter writer = new(begun, request, clock, _reports);
        AnswerBlocks blocks = new();
        bool hasBegun = false;
        try
        {
            await foreach (GenerationEvent happened in events.KeptAliveAsync(
                AnswerStream.Of(request, resumed ?? engine.GenerateAsync(request, resumable: true, again, http.RequestAborted)), clock.Time))
            {
                if (happened is RecoveringEvent)
                    await events.CommentAsync("recovering");
                if (happened is StartedEvent)
                    await BeginAsync();
                foreach (BlockStep step in blocks.Take(happened))
                    await SendAsync(writer.Of(step));
            }
            ResponseReply whole = writer.Whole(blocks);
            keep(whole, blocks);
            await SendAsync([writer.End(whole)]);
        }
        catch (Exception failure) when (http.Response.HasStarted && !http.RequestAborted.IsCancellationRequested)
        {
            if (!hasBegun) // it waited, and its client knows it only by comments
                await BeginAsync();
            await SendAsync([writer.Failed(blocks, errors.Tell(http, failure))]);
        }
        events.End();

        Task BeginAsync()
        {
            hasBegun = true;
            return SendAsync(writer.Begin());
        }

        async Task SendAsync(IEnumerable<ResponseEvent> next)
        {
            foreach (ResponseEvent one in next)
                await events.WriteAsync(one, ResponsesJson.Api.ResponseEvent, one.Type);
        }
    }

    private static Conversation Conversation(ResponsesBody body, ConversationBuilder conversation)
    {
        List<ConversationMessage> messages = [.. conversation.Messages];
        if (body.Instructions is { } instructions)
            messages.Insert(0, ConversationMessage.Create("instructions", "system", [instructions], null, null, null));
        return new Conversation
        {
            Messages = messages,
            ReasoningEffort = body.Reasoning?.Effort,
            RequestBytes = ConversationBuilder.BytesOf(messages),
        };
    }

    private ResponseReply Begun(string id, ResponsesBody body, ValidatedRequest request)
    {
        JsonObject text = new() { ["format"] = body.Text?.Format is { ValueKind: System.Text.Json.JsonValueKind.Object } format ? JsonObject.Create(format) : new JsonObject { ["type"] = "text" } };
        text["verbosity"] = "medium";
        return new ResponseReply
        {
            Id = id,
            CreatedAt = clock.Now,
            Status = "in_progress",
            Instructions = body.Instructions,
            MaxOutputTokens = body.MaxOutputTokens,
            Model = model.NameFor(request),
            Output = [],
            ParallelToolCalls = body.ParallelToolCalls ?? true,
            PreviousResponseId = body.PreviousResponseId,
            PromptCacheKey = body.PromptCacheKey,
            Reasoning = new ReasoningReply(body.Reasoning?.Effort),
            SafetyIdentifier = body.SafetyIdentifier,
            Store = (body.Store ?? true) && store.Keeps,
            Temperature = request.Sampling.Temperature,
            Text = text,
            ToolChoice = body.ToolChoice is { ValueKind: not System.Text.Json.JsonValueKind.Null } choice ? choice : ResponsesJson.Element("\"auto\""),
            Tools = body.Tools is { ValueKind: System.Text.Json.JsonValueKind.Array } tools ? tools : ResponsesJson.Element("[]"),
            TopLogprobs = request.Logprobs ?? 0,
            TopP = request.Sampling.TopP,
            PresencePenalty = request.Sampling.PresencePenalty,
            FrequencyPenalty = request.Sampling.FrequencyPenalty,
            User = body.User,
            Metadata = body.Metadata ?? [],
        };
    }

    private static string IdOf(HttpContext http) => http.Request.RouteValues["id"]?.ToString() ?? "";
}
