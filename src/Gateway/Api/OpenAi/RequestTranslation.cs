using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>HTTP bodies in the words of the public proto, so that defaults and limits are the same by construction.</summary>
internal static class RequestTranslation
{
    /// <summary>One request for each prompt of the body.</summary>
    public static List<GenerateRequest> ToProto(CompletionBody body, RequestLimits limits)
    {
        UnservedFields.Refuse(body.Others, body.Outputs);
        ResponseOptions response = body.Response;
        if (response.TopLogprobs < 0 || response.TopLogprobs > limits.TopLogprobs)
            throw RequestRejectedException.OutOfRange("logprobs", $"{response.TopLogprobs}", $"0 to {limits.TopLogprobs}");
        if (body.Echo == true && response is { Logprobs: true, HasPromptLogprobs: false })
            response = new ResponseOptions(response) { PromptLogprobs = response.TopLogprobs }; // the echoed prompt has logprobs too
        List<GenerateRequest> requests = PromptReader.Read(body.Prompt, limits);
        if ((long)requests.Count * Math.Max(body.Outputs, 1) > limits.Prompts)
            throw RequestRejectedException.OutOfRange("prompt", $"{requests.Count} prompts with {body.Outputs} outputs each", $"at most {limits.Prompts} outputs");
        for (int i = 0; i < requests.Count; i++)
        {
            GenerateRequest request = requests[i];
            if (body.Model is not null)
                request.Model = body.Model;
            if (body.RequestId is not null)
                request.RequestId = requests.Count == 1 ? body.RequestId : $"{body.RequestId}-{i}";
            if (body.AddSpecialTokens is { } add)
                request.AddSpecialTokens = add;
            if (body.ParseSpecialTokens is { } parse)
                request.ParseSpecialTokens = parse;
            (request.Sampling, request.Stopping, request.Response, request.Cache) = (body.Sampling, body.Stopping, response, body.Cache);
            if (body.Priority is { } priority)
                request.Priority = priority;
            if (body.DraftTokens is { } guesses)
                request.DraftTokens = guesses;
        }
        return requests;
    }

    /// <summary>The conversation of the body.</summary>
    public static ChatRequest ToProto(ChatBody body)
    {
        UnservedFields.Refuse(body.Others, body.Outputs);
        if (body.MaxCompletionTokens is { } most)
        {
            if (body.Stopping.HasMaxTokens && body.Stopping.MaxTokens != most)
                throw RequestRejectedException.Invalid(
                    "max_completion_tokens", $"'max_completion_tokens' is {most} and 'max_tokens' is {body.Stopping.MaxTokens}: give one of them.");
            body.Stopping.MaxTokens = most;
        }
        ChatRequest request = Conversation(body.Messages, body.AddGenerationPrompt, body.ContinueFinalMessage, body.ChatTemplateKwargs);
        if (body.Model is not null)
            request.Model = body.Model;
        if (body.RequestId is not null)
            request.RequestId = body.RequestId;
        (request.Sampling, request.Stopping, request.Response, request.Cache) = (body.Sampling, body.Stopping, body.Response, body.Cache);
        if (body.Priority is { } priority)
            request.Priority = priority;
        if (body.DraftTokens is { } guesses)
            request.DraftTokens = guesses;
        return request;
    }

    /// <summary>What the body says to tokenize.</summary>
    public static TokenizeRequest ToProto(TokenizeBody body)
    {
        if ((body.Prompt is null) == (body.Messages is null))
            throw RequestRejectedException.Invalid("prompt", "Exactly one of 'prompt' and 'messages' must be given.");
        TokenizeRequest request = new();
        if (body.Model is not null)
            request.Model = body.Model;
        if (body.Messages is not null)
            request.Chat = Conversation(body.Messages, body.AddGenerationPrompt, body.ContinueFinalMessage, body.ChatTemplateKwargs);
        else
            request.Text = body.Prompt;
        if (body.AddSpecialTokens is { } add)
            request.AddSpecialTokens = add;
        if (body.ParseSpecialTokens is { } parse)
            request.ParseSpecialTokens = parse;
        return request;
    }

    private static ChatRequest Conversation(List<MessageBody>? messages, bool? addGenerationPrompt, bool? continueFinal, JsonElement? variables)
    {
        ChatRequest request = new();
        for (int i = 0; i < (messages?.Count ?? 0); i++)
            request.Messages.Add(Message(messages![i], $"messages[{i}]"));
        if (addGenerationPrompt is { } add)
            request.AddGenerationPrompt = add;
        if (continueFinal is { } goesOn)
            request.ContinueFinalMessage = goesOn;
        if (variables is { ValueKind: not JsonValueKind.Null } given)
        {
            if (given.ValueKind != JsonValueKind.Object)
                throw RequestRejectedException.Invalid("chat_template_kwargs", "'chat_template_kwargs' must be an object.");
            request.TemplateVariables = Variables(given);
        }
        return request;
    }

    private static Struct Variables(JsonElement given)
    {
        try
        {
            return JsonParser.Default.Parse<Struct>(given.GetRawText());
        }
        catch (IOException fault) // InvalidJsonException: half surrogates; InvalidProtocolBufferException: numbers beyond double
        {
            throw RequestRejectedException.Invalid("chat_template_kwargs", $"'chat_template_kwargs' cannot be read: {fault.Message}");
        }
    }

    private static ChatMessage Message(MessageBody? body, string field)
    {
        if (body is null)
            throw RequestRejectedException.Invalid(field, $"'{field}' must be an object.");
        if (body.ToolCalls is { ValueKind: not JsonValueKind.Null } calls && (calls.ValueKind != JsonValueKind.Array || calls.GetArrayLength() > 0))
            throw RequestRejectedException.Unimplemented($"{field}.tool_calls");
        ChatMessage message = new()
        {
            Role = body.Role switch
            {
                "system" => ChatRole.System,
                "developer" => ChatRole.Developer,
                "user" => ChatRole.User,
                "assistant" => ChatRole.Assistant,
                "tool" => ChatRole.Tool,
                _ => throw RequestRejectedException.OutOfRange(
                    $"{field}.role", body.Role is null ? "not given" : "something else", "system, developer, user, assistant or tool"),
            },
        };
        if (Content(body.Content, field) is { } content)
            message.Content = content;
        if (body.Name is not null)
            message.Name = body.Name;
        if (body.ReasoningContent is not null)
            message.Reasoning = body.ReasoningContent;
        if (body.ToolCallId is not null)
            message.ToolCallId = body.ToolCallId;
        return message;
    }

    // Text parts are joined by line breaks, as vLLM joins them for templates that know only strings.
    private static string? Content(JsonElement? content, string field)
    {
        if (content is not { ValueKind: not JsonValueKind.Null } given)
            return null;
        if (given.ValueKind == JsonValueKind.String)
            return JsonBody.Text(given, $"{field}.content");
        if (given.ValueKind != JsonValueKind.Array)
            throw RequestRejectedException.Invalid($"{field}.content", $"'{field}.content' must be a string or an array of parts.");
        List<string> texts = [];
        foreach (JsonElement part in given.EnumerateArray())
        {
            string where = $"{field}.content[{texts.Count}]";
            if (part.ValueKind != JsonValueKind.Object || !part.TryGetProperty("type", out JsonElement type) || type.ValueKind != JsonValueKind.String)
                throw RequestRejectedException.Invalid(where, $"'{where}' must be an object with a type.");
            if (!type.ValueEquals("text"))
                throw RequestRejectedException.Unimplemented($"{where}.type");
            if (!part.TryGetProperty("text", out JsonElement text) || text.ValueKind != JsonValueKind.String)
                throw RequestRejectedException.Invalid($"{where}.text", $"'{where}.text' must be a string.");
            texts.Add(JsonBody.Text(text, $"{where}.text"));
        }
        return string.Join('\n', texts);
    }
}
