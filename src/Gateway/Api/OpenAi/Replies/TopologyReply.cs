namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Answer of /topology; fields as in GetTopology of the proto.</summary>
public sealed record TopologyReply(long Epoch, string State, string DeviceReason, IReadOnlyList<RankReply> Ranks);
