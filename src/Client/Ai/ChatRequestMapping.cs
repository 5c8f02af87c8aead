using System.Text.Json;
using Microsoft.Extensions.AI;
using TpServe.Protos.V1;

namespace TpServe.Client.Ai;

/// <summary>Options and conversation of Microsoft.Extensions.AI as a request. What has no place in a request is refused by its name, never dropped.</summary>
internal static class ChatRequestMapping
{
    /// <summary>The whole request.</summary>
    /// <exception cref="NotSupportedException">An option or a content that the server has no word for.</exception>
    public static ChatRequest Of(IChatClient client, IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages, ChatOptions? options, string? defaultModel)
    {
        ChatRequest request = Begin(client, options);
        request.Sampling ??= new SamplingOptions();
        request.Stopping ??= new StoppingOptions();
        request.Response ??= new ResponseOptions();
        if ((options?.ModelId ?? (request.HasModel ? null : defaultModel)) is { } model)
            request.Model = model;
        if (options is not null)
        {
            RefuseUnserved(options);
            SetSampling(request, options);
            SetForm(request, options.ResponseFormat);
            SetTools(request, options);
            SetReasoning(request, options.Reasoning);
            AdditionalOptions.Apply(request, options.AdditionalProperties);
            if (options.Instructions is { Length: > 0 } instructions)
                request.Messages.Add(new Protos.V1.ChatMessage { Role = Protos.V1.ChatRole.System, Content = instructions });
        }
        ConversationMapping.AddTo(request, messages);
        return request;
    }

    private static ChatRequest Begin(IChatClient client, ChatOptions? options) => options?.RawRepresentationFactory?.Invoke(client) switch
    {
        null => new ChatRequest(),
        ChatRequest raw => raw.Clone(),
        { } other => throw Unserved($"RawRepresentationFactory gave a {other.GetType()}; a {typeof(ChatRequest)}"),
    };

    private static void RefuseUnserved(ChatOptions options)
    {
        if (options.ConversationId is not null)
            throw Unserved("ConversationId: the server keeps no conversations; only whole histories");
#pragma warning disable MEAI001 // an evaluation feature of the abstractions, looked at only to refuse it
        if (options.AllowBackgroundResponses == true)
            throw Unserved("AllowBackgroundResponses: only answers while the caller waits");
        if (options.ContinuationToken is not null)
            throw Unserved("ContinuationToken: a stream resumes by itself; only whole requests");
#pragma warning restore MEAI001
    }

    private static void SetSampling(ChatRequest request, ChatOptions options)
    {
        SamplingOptions sampling = request.Sampling;
        if (options.Temperature is { } temperature)
            sampling.Temperature = temperature;
        if (options.TopP is { } topP)
            sampling.TopP = topP;
        if (options.TopK is { } topK)
            sampling.TopK = topK;
        if (options.PresencePenalty is { } presence)
            sampling.PresencePenalty = presence;
        if (options.FrequencyPenalty is { } frequency)
            sampling.FrequencyPenalty = frequency;
        if (options.Seed is { } seed)
            sampling.Seed = seed >= 0 ? (ulong)seed : throw Unserved($"Seed {seed}: only 0 and more");
        if (options.MaxOutputTokens is { } most)
            request.Stopping.MaxTokens = most;
        request.Stopping.Stop.AddRange(options.StopSequences ?? []);
    }

    private static void SetForm(ChatRequest request, ChatResponseFormat? format)
    {
        switch (format)
        {
            case null or ChatResponseFormatText:
                break;
            case ChatResponseFormatJson { Schema: { } schema }:
                request.Constraint = new Constraint { JsonSchema = schema.GetRawText() };
                break;
            case ChatResponseFormatJson:
                request.Constraint = new Constraint { JsonObject = true };
                break;
            default:
                throw Unserved($"ResponseFormat {format.GetType()}: only text, JSON and JSON Schema");
        }
    }

    private static void SetTools(ChatRequest request, ChatOptions options)
    {
        foreach (AITool tool in options.Tools ?? [])
        {
            if (tool is not AIFunctionDeclaration function)
                throw Unserved($"Tools: {tool.GetType()} \"{tool.Name}\"; only functions");
            Tool declared = new() { Name = function.Name, ParametersJsonSchema = function.JsonSchema.GetRawText() };
            if (function.Description is { Length: > 0 } description)
                declared.Description = description;
            if (function.AdditionalProperties.TryGetValue("strict", out object? strict))
                declared.Strict = strict as bool? ?? throw Unserved($"Tools: \"{function.Name}\" has strict = {strict}; only true and false");
            request.Tools.Add(declared);
        }
        request.ToolChoice = options.ToolMode switch
        {
            null => request.ToolChoice,
            AutoChatToolMode => new ToolChoice { Mode = ToolChoice.Types.Mode.Auto },
            NoneChatToolMode => new ToolChoice { Mode = ToolChoice.Types.Mode.None },
            RequiredChatToolMode { RequiredFunctionName: { } name } => new ToolChoice { Mode = ToolChoice.Types.Mode.Function, Name = name },
            RequiredChatToolMode => new ToolChoice { Mode = ToolChoice.Types.Mode.Required },
            { } other => throw Unserved($"ToolMode {other.GetType()}: only auto, none and required"),
        };
        if (options.AllowMultipleToolCalls is { } multiple)
            request.ParallelToolCalls = multiple;
    }

    private static void SetReasoning(ChatRequest request, ReasoningOptions? reasoning)
    {
        if (reasoning?.Output == ReasoningOutput.Summary)
            throw Unserved("Reasoning.Output Summary: only all of the reasoning, or none");
        if (reasoning?.Output is { } output)
            request.IncludeReasoning = output == ReasoningOutput.Full;
        if (reasoning?.Effort is not { } effort)
            return;
        request.ReasoningEffort = effort switch
        {
            ReasoningEffort.None => "none",
            ReasoningEffort.Low => "low",
            ReasoningEffort.Medium => "medium",
            ReasoningEffort.High => "high",
            _ => throw Unserved($"Reasoning.Effort {effort}: only None, Low, Medium and High"),
        };
    }

    private static NotSupportedException Unserved(string what) => new($"ChatOptions.{what} can be sent to TpServe.");
}
