namespace TpServe.Gateway.Api.OpenAi.Replies;

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
