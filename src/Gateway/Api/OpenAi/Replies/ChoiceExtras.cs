using System.Text.Json.Serialization;
using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>What vLLM adds to a choice.</summary>
public abstract record ChoiceExtras
{
    /// <summary>The stop string or stop token id that matched; null for the model's own end token.</summary>
    public object? StopReason { get; init; }

    /// <summary>One for each prompt token: null, or token id → its report.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<Dictionary<string, PromptLogprob>?>? PromptLogprobs { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<int>? PromptTokenIds { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<int>? TokenIds { get; init; }
}

/// <summary>Why an output ended, in OpenAI's and vLLM's words.</summary>
internal static class FinishReasons
{
    /// <summary>finish_reason.</summary>
    public static string Of(FinishedEvent finished) => finished.Reason switch
    {
        EndReason.Stop => "stop",
        EndReason.Length => "length",
        EndReason.ToolCalls => "tool_calls",
        _ => "abort",
    };

    /// <summary>stop_reason: the stop string or the request's stop token id.</summary>
    public static object? StopOf(FinishedEvent finished) => finished.StopString ?? (object?)finished.StopTokenId;
}

/// <summary>A token that could stand at a place of the prompt.</summary>
public sealed record PromptLogprob(float Logprob, int Rank, string DecodedToken);

/// <summary>Logprobs of a chat's tokens.</summary>
public sealed record ChatLogprobs(IReadOnlyList<TokenLogprob> Content)
{
    /// <summary>Always null.</summary>
    public IReadOnlyList<TokenLogprob>? Refusal { get; }
}

/// <summary>A token, its logprob, and the likeliest in its place.</summary>
public sealed record TokenLogprob
{
    public required string Token { get; init; }

    public required float Logprob { get; init; }

    /// <summary>As numbers: a token may hold part of a character.</summary>
    public required IReadOnlyList<int> Bytes { get; init; }

    /// <summary>Null in the entries of another token's list.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<TokenLogprob>? TopLogprobs { get; init; }
}

/// <summary>Logprobs of a completion in OpenAI's older shape: four arrays, one entry for each token.</summary>
public sealed record LegacyLogprobs
{
    /// <summary>Where each token begins in the choice's text, in Unicode code points.</summary>
    public required IReadOnlyList<int> TextOffset { get; init; }

    public required IReadOnlyList<float?> TokenLogprobs { get; init; }

    public required IReadOnlyList<string> Tokens { get; init; }

    /// <summary>Token text → logprob: the token itself and the likeliest.</summary>
    public required IReadOnlyList<Dictionary<string, float>?> TopLogprobs { get; init; }
}
