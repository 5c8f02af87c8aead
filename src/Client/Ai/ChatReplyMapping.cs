using System.Text.Json;
using Microsoft.Extensions.AI;
using TpServe.Protos.V1;

namespace TpServe.Client.Ai;

/// <summary>Answers in the words of Microsoft.Extensions.AI.</summary>
internal static class ChatReplyMapping
{
    /// <summary>A whole answer; several outputs are several messages.</summary>
    public static ChatResponse Response(GenerateResponse answer, bool showReasoning, DateTimeOffset now) => new(
        [.. answer.Outputs.Select(output => Message(output, answer.Started.RequestId, showReasoning, now))])
    {
        ResponseId = answer.Started.RequestId,
        ModelId = answer.Started.Model,
        CreatedAt = now,
        FinishReason = answer.Outputs.Count == 0 ? null : Reason(answer.Outputs[^1].Finished),
        Usage = Usage(answer.Usage),
        RawRepresentation = answer,
    };

    /// <summary>Why an output ended.</summary>
    public static ChatFinishReason? Reason(Finished? finished) => finished?.Reason switch
    {
        FinishReason.Stop => ChatFinishReason.Stop,
        FinishReason.Length => ChatFinishReason.Length,
        FinishReason.ToolCalls => ChatFinishReason.ToolCalls,
        FinishReason.Aborted => new ChatFinishReason("aborted"),
        _ => null,
    };

    /// <summary>Tokens counted.</summary>
    public static UsageDetails? Usage(Usage? usage) => usage is null ? null : new UsageDetails
    {
        InputTokenCount = usage.PromptTokens,
        OutputTokenCount = usage.CompletionTokens,
        TotalTokenCount = (long)usage.PromptTokens + usage.CompletionTokens,
        CachedInputTokenCount = usage.CachedTokens,
        ReasoningTokenCount = usage.ReasoningTokens,
    };

    /// <summary>A call that is whole. Arguments that are no JSON are told in its Exception, and stay in its raw form.</summary>
    public static FunctionCallContent Call(ToolCall call)
    {
        FunctionCallContent content = FunctionCallContent.CreateFromParsedArguments(
            call.Arguments, call.Id, call.Name,
            text => text.Length == 0 ? new Dictionary<string, object?>() : JsonSerializer.Deserialize<Dictionary<string, object?>>(text, AIJsonUtilities.DefaultOptions));
        content.RawRepresentation = call;
        return content;
    }

    private static Microsoft.Extensions.AI.ChatMessage Message(Output output, string requestId, bool showReasoning, DateTimeOffset now)
    {
        List<AIContent> contents = [];
        if (showReasoning && output.Reasoning.Length > 0)
            contents.Add(new TextReasoningContent(output.Reasoning));
        if (output.Text.Length > 0)
            contents.Add(new TextContent(output.Text));
        contents.AddRange(output.ToolCalls.Select(Call));
        return new Microsoft.Extensions.AI.ChatMessage(Microsoft.Extensions.AI.ChatRole.Assistant, contents) { MessageId = MessageId(requestId, output.Index), CreatedAt = now, RawRepresentation = output };
    }

    /// <summary>Outputs of one request are told apart by their message's id.</summary>
    public static string MessageId(string requestId, int output) => output == 0 ? requestId : $"{requestId}-{output}";
}
