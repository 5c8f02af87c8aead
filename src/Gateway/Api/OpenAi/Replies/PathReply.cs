namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>A measured path to a peer; fields as in PathInfo of the proto.</summary>
public sealed record PathReply(int Peer, double RoundTripMicroseconds, double BytesPerSecond);
