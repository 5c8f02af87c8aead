using Microsoft.Extensions.AI;
using TpServe.Protos.V1;

namespace TpServe.Client.Ai;

/// <summary>The updates of one stream: text and reasoning as they come, a call once it is whole, finish reason and usage at the end.</summary>
internal sealed class StreamingReply(bool showReasoning, TimeProvider time)
{
    private readonly SortedDictionary<(int Output, int Index), ToolCall> _open = [];
    private string? _requestId, _model;

    /// <summary>What an event tells; null = nothing yet.</summary>
    public ChatResponseUpdate? Next(GenerateEvent happened)
    {
        List<AIContent> contents = [];
        switch (happened.EventCase)
        {
            case GenerateEvent.EventOneofCase.Started:
                (_requestId, _model) = (happened.Started.RequestId, happened.Started.Model);
                return Update(happened, 0, contents);
            case GenerateEvent.EventOneofCase.Delta:
                AddDelta(contents, happened.Delta);
                return contents.Count > 0 || happened.Delta.Tokens.Count > 0 ? Update(happened, happened.Delta.OutputIndex, contents) : null;
            case GenerateEvent.EventOneofCase.Finished:
                Close(contents, happened.Finished.OutputIndex, upTo: int.MaxValue);
                if (ChatReplyMapping.Usage(happened.Finished.Usage) is { } usage)
                    contents.Add(new UsageContent(usage));
                ChatResponseUpdate last = Update(happened, happened.Finished.OutputIndex, contents);
                last.FinishReason = ChatReplyMapping.Reason(happened.Finished);
                return last;
            default:
                return null; // a pause of the server, and what later servers may tell
        }
    }

    private void AddDelta(List<AIContent> contents, Delta delta)
    {
        if (showReasoning && delta.Reasoning.Length > 0)
            contents.Add(new TextReasoningContent(delta.Reasoning));
        if (delta.Text.Length > 0)
            contents.Add(new TextContent(delta.Text));
        foreach (ToolCall piece in delta.ToolCalls)
        {
            (int, int) key = (delta.OutputIndex, piece.Index);
            Close(contents, delta.OutputIndex, upTo: piece.Index);
            if (!_open.TryGetValue(key, out ToolCall? call))
                _open.Add(key, call = new ToolCall { Index = piece.Index });
            if (piece.HasId)
                call.Id = piece.Id;
            if (piece.HasName)
                call.Name = piece.Name;
            call.Arguments += piece.Arguments;
        }
    }

    /// <summary>The calls of an output before one that has begun, or before its end, are whole.</summary>
    private void Close(List<AIContent> contents, int output, int upTo)
    {
        foreach (((int Output, int Index) key, ToolCall call) in _open.Where(open => open.Key.Output == output && open.Key.Index < upTo).ToArray())
        {
            contents.Add(ChatReplyMapping.Call(call));
            _open.Remove(key);
        }
    }

    private ChatResponseUpdate Update(GenerateEvent happened, int output, List<AIContent> contents) => new(Microsoft.Extensions.AI.ChatRole.Assistant, contents)
    {
        ResponseId = _requestId,
        MessageId = _requestId is null ? null : ChatReplyMapping.MessageId(_requestId, output),
        ModelId = _model,
        CreatedAt = time.GetUtcNow(),
        RawRepresentation = happened,
    };
}
