using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.OpenAi.Replies;

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
