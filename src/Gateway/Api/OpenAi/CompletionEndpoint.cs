using TpServe.Gateway.Access;
using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>POST /v1/completions. Choices count prompt by prompt: index = prompt · n + output.</summary>
internal sealed class CompletionEndpoint(
    RequestParser parser, InferenceEngine engine, ServingModel model, ServingSettings settings, TokenTexts texts, ServerClock clock)
{
    private readonly TokenReports _reports = new(texts);

    /// <summary>Answers one call.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        if (await ResumedStream.TryAsync(http, engine))
            return;
        engine.RequireRoom();
        CompletionBody body = await JsonBody.ReadAsync(http, OpenAiJson.Api.CompletionBody, settings.Limits.BodyBytes);
        body.CallId = CallId.Given(http, settings.Limits);
        StreamChoice stream = StreamChoice.Of(body);
        List<GenerateRequest> asked = RequestTranslation.ToProto(body, settings.Limits);
        foreach (GenerateRequest request in asked)
            parser.RequireTokens("prompt", request.TokenIds?.Ids ?? []); // so that the fault has the field's HTTP name
        List<ValidatedRequest> requests = [.. (await parser.ParseAsync(asked, http.RequestAborted)).Select(request => request.BoundTo(http))];
        CallId.Tell(http, body.RequestId ?? body.CallId ?? requests[0].RequestId);
        CompletionReply head = new()
        {
            Id = body.RequestId ?? $"cmpl-{requests[0].RequestId}",
            Created = clock.Now,
            Model = model.NameFor(requests[0]),
            Choices = [],
        };
        if (stream.Streams)
            await StreamAsync(http, head, stream, requests, Writers, seen: 0, null);
        else
            await AnswerAsync(http, head, requests, Writers());

        CompletionWriter[] Writers() => [.. requests.Select((request, index) => new CompletionWriter(body, request, Echo(body, asked[index], request), index, _reports))];
    }

    private async Task AnswerAsync(HttpContext http, CompletionReply head, List<ValidatedRequest> requests, CompletionWriter[] writers)
    {
        GenerationResult[] results = await GenerationBatch.CollectAsync(engine, requests, http.RequestAborted);
        CompletionReply reply = head with
        {
            Choices = [.. results.SelectMany((result, index) => writers[index].Whole(result))],
            Usage = Usage(results.Select(result => result.Totals)),
        };
        await JsonBody.WriteAsync(http, reply, OpenAiJson.Api.CompletionReply);
    }

    /// <param name="http">The call.</param>
    /// <param name="head">What every chunk has in common.</param>
    /// <param name="stream">What the client wants of the stream.</param>
    /// <param name="requests">What is asked; a single one can be resumed.</param>
    /// <param name="newWriters">Makes the writers, which count what they have written.</param>
    /// <param name="seen">Events that the client saw before it lost its connection.</param>
    /// <param name="resumed">The events of a request that runs already; null = it begins now.</param>
    private async Task StreamAsync(
        HttpContext http, CompletionReply head, StreamChoice stream, List<ValidatedRequest> requests, Func<CompletionWriter[]> newWriters, long seen,
        IAsyncEnumerable<GenerationEvent>? resumed)
    {
        SseStream events = new(http, requests.Count == 1 ? requests[0].RequestId : null, seen);
        ResumedStream.Presentation again = (call, seenThen, rest) => StreamAsync(call, head, stream, requests, newWriters, seenThen, rest);
        CompletionWriter[] writers = newWriters();
        List<RequestTotals> totals = [];
        await foreach ((int index, GenerationEvent happened) in events.KeptAliveAsync(GenerationBatch.StreamAsync(engine, requests, resumed, again, http.RequestAborted), clock.Time))
        {
            if (happened is RecoveringEvent)
                await events.CommentAsync("recovering");
            if (happened is FinishedEvent { Totals: { } total })
                totals.Add(total);
            if (writers[index].Next(happened) is { } choice)
                await events.WriteAsync(head with { Choices = [choice], Usage = stream.UsageOfChunks }, OpenAiJson.Api.CompletionReply);
        }
        if (stream.TellsUsage)
            await events.WriteAsync(head with { Usage = Usage(totals) }, OpenAiJson.Api.CompletionReply);
        await events.DoneAsync();
    }

    private string Echo(CompletionBody body, GenerateRequest asked, ValidatedRequest request) =>
        body.Echo != true ? "" : asked.HasText ? asked.Text : model.Tokenizer.Decode(request.PromptTokens, request.SkipSpecialTokens);

    private static UsageReply Usage(IEnumerable<RequestTotals> totals)
    {
        RequestTotals[] all = [.. totals];
        return new UsageReply(all.Sum(one => one.PromptTokens), all.Sum(one => one.CompletionTokens), all.Sum(one => one.CachedTokens));
    }
}
