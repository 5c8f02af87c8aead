using System.Text.Json;
using Grpc.Core;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>The four shapes of a completion's prompt: text, texts, token ids, lists of token ids.</summary>
internal static class PromptReader
{
    private const string Shapes = "'prompt' must be a string, an array of strings, an array of token ids, or an array of such arrays.";

    /// <summary>One request for each prompt, with nothing but the input set.</summary>
    public static List<GenerateRequest> Read(JsonElement? prompt, RequestLimits limits)
    {
        if (prompt is not { ValueKind: not JsonValueKind.Null } given)
            throw new RequestRejectedException(StatusCode.InvalidArgument, "PROMPT_EMPTY", "No 'prompt' is given.", "prompt");
        if (given.ValueKind == JsonValueKind.String)
            return [Text(given)];
        if (given.ValueKind != JsonValueKind.Array)
            throw RequestRejectedException.Invalid("prompt", Shapes);
        if (given.GetArrayLength() == 0)
            throw new RequestRejectedException(StatusCode.InvalidArgument, "PROMPT_EMPTY", "'prompt' is an empty array.", "prompt");
        if (given[0].ValueKind == JsonValueKind.Number)
            return [Ids(given)];
        if (given.GetArrayLength() > limits.Prompts)
            throw RequestRejectedException.OutOfRange("prompt", $"{given.GetArrayLength()} prompts", $"at most {limits.Prompts}");
        return [.. given.EnumerateArray().Select(one => one.ValueKind switch
        {
            JsonValueKind.String => Text(one),
            JsonValueKind.Array => Ids(one),
            _ => throw RequestRejectedException.Invalid("prompt", Shapes),
        })];
    }

    private static GenerateRequest Text(JsonElement text) => new() { Text = JsonBody.Text(text, "prompt") };

    private static GenerateRequest Ids(JsonElement ids)
    {
        TokenIds tokens = new();
        foreach (JsonElement id in ids.EnumerateArray())
            tokens.Ids.Add(id.ValueKind == JsonValueKind.Number && id.TryGetInt32(out int token)
                ? token
                : throw RequestRejectedException.Invalid("prompt", Shapes));
        return new GenerateRequest { TokenIds = tokens };
    }
}
