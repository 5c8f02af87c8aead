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
        Constraint? constraint = ConstraintReader.Read(body);
        if ((long)requests.Count * Math.Max(body.Outputs, 1) > limits.Prompts)
            throw RequestRejectedException.OutOfRange("prompt", $"{requests.Count} prompts with {body.Outputs} outputs each", $"at most {limits.Prompts} outputs");
        for (int i = 0; i < requests.Count; i++)
        {
            GenerateRequest request = requests[i];
            if (body.Model is not null)
                request.Model = body.Model;
            if ((body.RequestId ?? body.CallId) is { } id)
                request.RequestId = requests.Count == 1 ? id : $"{id}-{i}";
            if (body.AddSpecialTokens is { } add)
                request.AddSpecialTokens = add;
            if (body.ParseSpecialTokens is { } parse)
                request.ParseSpecialTokens = parse;
            (request.Sampling, request.Stopping, request.Response, request.Cache) = (body.Sampling, body.Stopping, response, body.Cache);
            if (constraint is not null)
                request.Constraint = constraint;
            if (body.Priority is { } priority)
                request.Priority = priority;
            if (body.DraftTokens is { } guesses)
                request.DraftTokens = guesses;
        }
        return requests;
    }

    /// <summary>What the body asks beside its conversation, which <see cref="ConversationReader"/> reads.</summary>
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
        ChatRequest request = body.ToChat();
        if (ToolReader.Choice(body.ToolChoice) is { } choice)
            request.ToolChoice = choice;
        if (body.ParallelToolCalls is { } parallel)
            request.ParallelToolCalls = parallel;
        if (body.IncludeReasoning is { } include)
            request.IncludeReasoning = include;
        if (ConstraintReader.Read(body) is { } constraint)
            request.Constraint = constraint;
        return request;
    }

    /// <summary>The text that the body says to tokenize.</summary>
    public static TokenizeRequest ToProto(TokenizeBody body)
    {
        TokenizeRequest request = new() { Text = body.Prompt };
        if (body.Model is not null)
            request.Model = body.Model;
        if (body.AddSpecialTokens is { } add)
            request.AddSpecialTokens = add;
        if (body.ParseSpecialTokens is { } parse)
            request.ParseSpecialTokens = parse;
        return request;
    }
}
