namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Logprobs of a chat's tokens.</summary>
public sealed record ChatLogprobs(IReadOnlyList<TokenLogprob> Content)
{
    /// <summary>Always null.</summary>
    public IReadOnlyList<TokenLogprob>? Refusal { get; }
}
