using System.Text.Json.Nodes;
using TpServe.Gateway.Api.OpenAi;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.Responses;

/// <summary>The items of an answer and the events of its stream, out of its blocks: one block is one item.</summary>
/// <param name="begun">The response before its first token.</param>
/// <param name="request">What is asked.</param>
/// <param name="clock">Tells when it is complete.</param>
/// <param name="reports">Logprobs.</param>
internal sealed class ResponseWriter(ResponseReply begun, ValidatedRequest request, ServerClock clock, TokenReports reports)
{
    private const string Message = "message", Reasoning = "reasoning", Call = "function_call";

    private readonly string _tail = begun.Id[(begun.Id.IndexOf('_', StringComparison.Ordinal) + 1)..];
    private int _seq;

    /// <summary>The response at the end of its answer.</summary>
    public ResponseReply Whole(AnswerBlocks blocks)
    {
        FinishedEvent finished = blocks.Finished ?? new FinishedEvent(0, EndReason.Aborted, null, null, 0, null);
        bool whole = finished.Reason is EndReason.Stop or EndReason.ToolCalls;
        RequestTotals? totals = finished.Totals;
        return begun with
        {
            Status = whole ? "completed" : "incomplete",
            CompletedAt = clock.Now,
            IncompleteDetails = whole ? null : new IncompleteReply(finished.Reason == EndReason.Length ? "max_output_tokens" : "aborted"),
            Output = [.. blocks.All.Select(block => Item(block, EndOf(block)))],
            Usage = totals is null ? null : new ResponseUsage(
                totals.PromptTokens, new InputTokensDetails(totals.CachedTokens), totals.CompletionTokens, new OutputTokensDetails(totals.ReasoningTokens), totals.PromptTokens + totals.CompletionTokens),
        };
    }

    /// <summary>The two events that begin a stream.</summary>
    public IEnumerable<ResponseEvent> Begin() => [Event("response.created") with { Response = begun }, Event("response.in_progress") with { Response = begun }];

    /// <summary>The event that ends it.</summary>
    public ResponseEvent End(ResponseReply whole) => Event($"response.{whole.Status}") with { Response = whole };

    /// <summary>The event that ends it where it failed.</summary>
    public ResponseEvent Failed(AnswerBlocks blocks, ApiError error) => Event("response.failed") with
    {
        Response = begun with
        {
            Status = "failed",
            Error = new ResponseFault(error.Reason.ToLowerInvariant(), error.Message),
            Output = [.. blocks.All.Select(block => Item(block, "incomplete"))],
        },
    };

    /// <summary>The events of a step.</summary>
    public IEnumerable<ResponseEvent> Of(BlockStep step)
    {
        AnswerBlock block = step.Block;
        return (step.Kind, block.Kind) switch
        {
            (BlockStepKind.Begin, BlockKind.Call) => [Added(block)],
            (BlockStepKind.Begin, _) => [Added(block), On(block, "response.content_part.added") with { ContentIndex = 0, Part = Part(block.Kind, "", []) }],
            (BlockStepKind.Delta, BlockKind.Text) => [On(block, "response.output_text.delta") with { ContentIndex = 0, Delta = step.Text, Logprobs = Logprobs(step.Tokens) }],
            (BlockStepKind.Delta, BlockKind.Reasoning) => [On(block, "response.reasoning_text.delta") with { ContentIndex = 0, Delta = step.Text }],
            (BlockStepKind.Delta, _) => [On(block, "response.function_call_arguments.delta") with { Delta = step.Text }],
            (_, BlockKind.Text) =>
            [
                On(block, "response.output_text.done") with { ContentIndex = 0, Text = block.Text, Logprobs = Logprobs(block.Tokens) },
                On(block, "response.content_part.done") with { ContentIndex = 0, Part = Part(block.Kind, block.Text, block.Tokens) },
                Done(block),
            ],
            (_, BlockKind.Reasoning) =>
            [
                On(block, "response.reasoning_text.done") with { ContentIndex = 0, Text = block.Text },
                On(block, "response.content_part.done") with { ContentIndex = 0, Part = Part(block.Kind, block.Text, []) },
                Done(block),
            ],
            _ => [On(block, "response.function_call_arguments.done") with { Name = block.Name, Arguments = block.Text }, Done(block)],
        };
    }

    /// <summary>The answer as the next request's history: one message of the assistant's.</summary>
    public static void Append(AnswerBlocks blocks, ConversationBuilder conversation)
    {
        foreach (AnswerBlock block in blocks.All)
            switch (block.Kind)
            {
                case BlockKind.Reasoning:
                    conversation.Reasoning("reasoning", block.Text);
                    break;
                case BlockKind.Text:
                    conversation.Message("output", "assistant", [block.Text], isList: false);
                    break;
                case BlockKind.Call:
                    conversation.Call("output", block.CallId, block.Name, $"{CallArguments.ObjectOf(block.Text)}");
                    break;
            }
    }

    private ResponseEvent Event(string type) => new(type, _seq++);

    private ResponseEvent On(AnswerBlock block, string type) => Event(type) with { OutputIndex = block.Index, ItemId = IdOf(block) };

    private ResponseEvent Added(AnswerBlock block) => Event("response.output_item.added") with { OutputIndex = block.Index, Item = Item(block, "in_progress") };

    private ResponseEvent Done(AnswerBlock block) => Event("response.output_item.done") with { OutputIndex = block.Index, Item = Item(block, EndOf(block)) };

    private static string EndOf(AnswerBlock block) => block.IsCut ? "incomplete" : "completed";

    private OutputItem Item(AnswerBlock block, string status)
    {
        OutputPart[] parts = status == "in_progress" ? [] : [Part(block.Kind, block.Text, block.Tokens)];
        OutputItem item = new() { Id = IdOf(block), Type = block.Kind switch { BlockKind.Text => Message, BlockKind.Reasoning => Reasoning, _ => Call }, Status = status };
        return block.Kind switch
        {
            BlockKind.Text => item with { Role = "assistant", Content = parts },
            BlockKind.Reasoning => item with { Summary = [], Content = parts },
            _ => item with { CallId = block.CallId, Name = block.Name, Arguments = block.Text },
        };
    }

    private string IdOf(AnswerBlock block) => $"{block.Kind switch { BlockKind.Text => "msg", BlockKind.Reasoning => "rs", _ => "fc" }}_{_tail}{block.Index:x2}";

    private OutputPart Part(BlockKind kind, string text, IReadOnlyList<ReportedToken> tokens) => kind == BlockKind.Text
        ? new OutputPart("output_text", text) { Annotations = [], Logprobs = Logprobs(tokens) }
        : new OutputPart("reasoning_text", text);

    private IReadOnlyList<TokenLogprob> Logprobs(IReadOnlyList<ReportedToken> tokens) => request.Logprobs is null ? [] : reports.Chat(tokens).Content;
}
