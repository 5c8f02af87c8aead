using System.Globalization;
using TpServe.Gateway.Access;
using TpServe.Gateway.Answers;
using TpServe.Gateway.Api.OpenAi;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.Ollama;

/// <summary>POST /api/chat and /api/generate, in lines of JSON unless stream is false.</summary>
internal sealed class OllamaEndpoint(RequestParser parser, InferenceEngine engine, ServingModel model, ServingSettings settings, TokenTexts texts, ServerClock clock)
{
    private readonly TokenReports _reports = new(texts);

    /// <summary>Answers /api/chat.</summary>
    public async Task ChatAsync(HttpContext http)
    {
        engine.RequireRoom();
        OllamaChatBody body = await JsonBody.ReadAsync(http, OllamaJson.Api.OllamaChatBody, settings.Limits.BodyBytes);
        body.CallId = CallId.Given(http, settings.Limits);
        ChatRequest asked = OllamaTranslation.ToProto(body, model, settings.MaxModelLen);
        Func<AnswerPart, OllamaReply> reply = part => Line(body) with { Message = new OllamaMessage(part.Text) { Thinking = part.Thinking, ToolCalls = part.Calls } };
        if (body.Messages is null or [])
            await LoadedAsync(http, asked, reply);
        else
            await AnswerAsync(http, body, await parser.ParseAsync(asked, OllamaTranslation.Conversation(body), cancellation: http.RequestAborted), reply);
    }

    /// <summary>Answers /api/generate.</summary>
    public async Task GenerateAsync(HttpContext http)
    {
        engine.RequireRoom();
        OllamaGenerateBody body = await JsonBody.ReadAsync(http, OllamaJson.Api.OllamaGenerateBody, settings.Limits.BodyBytes);
        body.CallId = CallId.Given(http, settings.Limits);
        ChatRequest asked = OllamaTranslation.ToProto(body, model, settings.MaxModelLen);
        Func<AnswerPart, OllamaReply> reply = part => Line(body) with { Response = part.Text, Thinking = part.Thinking };
        if (string.IsNullOrEmpty(body.Prompt))
        {
            await LoadedAsync(http, asked, reply);
            return;
        }
        ValidatedRequest request = body.Raw == true
            ? await parser.ParseAsync(OllamaTranslation.Raw(asked, body.Prompt), cancellation: http.RequestAborted)
            : await parser.ParseAsync(asked, OllamaTranslation.Conversation(body), cancellation: http.RequestAborted);
        await AnswerAsync(http, body, request, reply);
    }

    private async Task AnswerAsync(HttpContext http, OllamaBody body, ValidatedRequest parsed, Func<AnswerPart, OllamaReply> reply)
    {
        ValidatedRequest request = parsed.BoundTo(http);
        CallId.Tell(http, request.RequestId);
        IAsyncEnumerable<GenerationEvent> events = AnswerStream.Of(request, engine.GenerateAsync(request, cancellation: http.RequestAborted));
        AnswerBlocks blocks = new();
        if (body.Stream == false)
        {
            blocks = await AnswerBlocks.CollectAsync(events, http.RequestAborted);
            string? thinking = TextOf(BlockKind.Reasoning);
            OllamaToolCall[] calls = [.. blocks.All.Where(block => block.Kind == BlockKind.Call).Select(Call)];
            OllamaReply whole = reply(new AnswerPart(TextOf(BlockKind.Text) ?? "") { Thinking = thinking, Calls = calls.Length > 0 ? calls : null });
            await JsonBody.WriteAsync(http, Ended(whole, blocks) with { Logprobs = Logprobs([.. blocks.All.SelectMany(block => block.Tokens)]) }, OllamaJson.Api.OllamaReply);
            return;
        }
        await foreach (GenerationEvent happened in events)
            foreach (BlockStep step in blocks.Take(happened))
                if (PartOf(step) is { } part)
                    await JsonLines.WriteAsync(http, reply(part) with { Logprobs = Logprobs(step.Tokens) }, OllamaJson.Api.OllamaReply);
        await JsonLines.WriteAsync(http, Ended(reply(new AnswerPart("")), blocks), OllamaJson.Api.OllamaReply);

        string? TextOf(BlockKind kind) => blocks.All.Any(block => block.Kind == kind) ? string.Concat(blocks.All.Where(block => block.Kind == kind).Select(block => block.Text)) : null;

        IReadOnlyList<OpenAi.Replies.TokenLogprob>? Logprobs(IReadOnlyList<ReportedToken> tokens) => request.Logprobs is null ? null : _reports.Chat(tokens).Content;
    }

    /// <summary>A request without a prompt asks only whether the model is there.</summary>
    private Task LoadedAsync(HttpContext http, ChatRequest asked, Func<AnswerPart, OllamaReply> reply)
    {
        parser.RequireModel(asked.HasModel ? asked.Model : null);
        return JsonBody.WriteAsync(http, reply(new AnswerPart("")) with { Done = true, DoneReason = "load" }, OllamaJson.Api.OllamaReply);
    }

    /// <summary>What a step adds to the stream: text as it comes, a call when it is whole.</summary>
    private static AnswerPart? PartOf(BlockStep step) => (step.Kind, step.Block.Kind) switch
    {
        (BlockStepKind.Delta, BlockKind.Text) => new AnswerPart(step.Text),
        (BlockStepKind.Delta, BlockKind.Reasoning) => new AnswerPart("") { Thinking = step.Text },
        (BlockStepKind.End, BlockKind.Call) => new AnswerPart("") { Calls = [Call(step.Block)] },
        _ => null,
    };

    private static OllamaToolCall Call(AnswerBlock block) => new()
    {
        Id = block.CallId,
        Function = new OllamaFunctionCall { Index = block.CallIndex, Name = block.Name, Arguments = CallArguments.ObjectOf(block.Text) },
    };

    private static OllamaReply Ended(OllamaReply reply, AnswerBlocks blocks)
    {
        RequestTotals? totals = blocks.Finished?.Totals;
        return reply with
        {
            Done = true,
            DoneReason = blocks.Finished?.Reason switch { EndReason.Stop or EndReason.ToolCalls => "stop", EndReason.Length => "length", _ => "abort" },
            TotalDuration = Nanoseconds(totals?.Total ?? default),
            LoadDuration = 0,
            PromptEvalCount = totals?.PromptTokens,
            PromptEvalDuration = Nanoseconds(totals?.Prefill ?? default),
            EvalCount = totals?.CompletionTokens,
            EvalDuration = Nanoseconds(totals?.Decode ?? default),
        };
    }

    private OllamaReply Line(OllamaBody body) => new() { Model = string.IsNullOrEmpty(body.Model) ? model.Name : body.Model, CreatedAt = Rfc3339(clock.Time.GetUtcNow()), Done = false };

    /// <summary>A moment as Ollama writes it.</summary>
    public static string Rfc3339(DateTimeOffset moment) => moment.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.fffffffZ", CultureInfo.InvariantCulture);

    /// <summary>A time as Ollama counts it.</summary>
    public static long Nanoseconds(TimeSpan time) => time.Ticks * TimeSpan.NanosecondsPerTick;

    /// <summary>What an answer, or a line of it, says.</summary>
    private sealed record AnswerPart(string Text)
    {
        public string? Thinking { get; init; }

        public IReadOnlyList<OllamaToolCall>? Calls { get; init; }
    }
}
