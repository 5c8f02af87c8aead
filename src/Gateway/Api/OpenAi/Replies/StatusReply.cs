namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Answer of /health/live and /health/ready: live, ready, starting, lost, stopped, draining.</summary>
public sealed record StatusReply(string Status);
