namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>A token that could stand at a place of the prompt.</summary>
public sealed record PromptLogprob(float Logprob, int Rank, string DecodedToken);
