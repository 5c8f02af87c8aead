using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.Anthropic;

/// <summary>The content of an answer and the events of its stream, out of its blocks.</summary>
/// <param name="id">Names the message.</param>
/// <param name="model">Who answers.</param>
/// <param name="request">What is asked.</param>
internal sealed class MessageWriter(string id, string model, ValidatedRequest request)
{
    private static readonly System.Text.Json.JsonElement s_nothing = CallArguments.ObjectOf("");

    /// <summary>The message at the end of its answer.</summary>
    public MessageReply Whole(AnswerBlocks blocks)
    {
        MessageEnd end = EndOf(blocks);
        return new MessageReply
        {
            Id = id,
            Model = model,
            Content = [.. blocks.All.Select(block => block.Kind switch
            {
                BlockKind.Text => new ContentBlock("text") { Text = block.Text },
                BlockKind.Reasoning => new ContentBlock("thinking") { Thinking = block.Text, Signature = "" },
                _ => new ContentBlock("tool_use") { Id = IdOf(block), Name = block.Name, Input = CallArguments.ObjectOf(block.Text) },
            })],
            StopReason = end.StopReason,
            StopSequence = end.StopSequence,
            Usage = Usage(blocks),
        };
    }

    /// <summary>The events that begin a stream.</summary>
    public IEnumerable<MessageEvent> Begin(AnswerBlocks blocks) =>
    [
        new MessageEvent("message_start") { Message = new MessageReply { Id = id, Model = model, Content = [], Usage = Usage(blocks) } },
        new MessageEvent("ping"),
    ];

    /// <summary>The events that end it.</summary>
    public IEnumerable<MessageEvent> End(AnswerBlocks blocks) =>
        [new MessageEvent("message_delta") { Delta = EndOf(blocks), Usage = Usage(blocks) }, new MessageEvent("message_stop")];

    /// <summary>The event of a step.</summary>
    public static MessageEvent Of(BlockStep step)
    {
        AnswerBlock block = step.Block;
        MessageEvent On(string type) => new(type) { Index = block.Index };
        return (step.Kind, block.Kind) switch
        {
            (BlockStepKind.Begin, BlockKind.Text) => On("content_block_start") with { ContentBlock = new ContentBlock("text") { Text = "" } },
            (BlockStepKind.Begin, BlockKind.Reasoning) => On("content_block_start") with { ContentBlock = new ContentBlock("thinking") { Thinking = "", Signature = "" } },
            (BlockStepKind.Begin, _) => On("content_block_start") with { ContentBlock = new ContentBlock("tool_use") { Id = IdOf(block), Name = block.Name, Input = s_nothing } },
            (BlockStepKind.Delta, BlockKind.Text) => On("content_block_delta") with { Delta = new ContentDelta("text_delta") { Text = step.Text } },
            (BlockStepKind.Delta, BlockKind.Reasoning) => On("content_block_delta") with { Delta = new ContentDelta("thinking_delta") { Thinking = step.Text } },
            (BlockStepKind.Delta, _) => On("content_block_delta") with { Delta = new ContentDelta("input_json_delta") { PartialJson = step.Text } },
            _ => On("content_block_stop"),
        };
    }

    private static MessageEnd EndOf(AnswerBlocks blocks) => blocks.Finished switch
    {
        { Reason: EndReason.Stop, StopString: { } stop } => new MessageEnd("stop_sequence", stop),
        { Reason: EndReason.Stop } => new MessageEnd("end_turn", null),
        { Reason: EndReason.ToolCalls } => new MessageEnd("tool_use", null),
        { Reason: EndReason.Length } => new MessageEnd("max_tokens", null),
        _ => new MessageEnd("abort", null),
    };

    private MessageUsage Usage(AnswerBlocks blocks)
    {
        int cached = blocks.Finished?.Totals?.CachedTokens ?? blocks.CachedTokens;
        return new MessageUsage(request.PromptTokens.Count - cached, cached, blocks.Finished?.CompletionTokens ?? 0);
    }

    // Clients of Anthropic's know calls by this beginning.
    private static string IdOf(AnswerBlock block) => block.CallId.StartsWith("call_", StringComparison.Ordinal) ? $"toolu_{block.CallId["call_".Length..]}" : block.CallId;
}
