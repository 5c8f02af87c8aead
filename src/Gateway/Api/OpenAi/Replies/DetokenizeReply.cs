namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Answer of /detokenize.</summary>
public sealed record DetokenizeReply(string Prompt);
