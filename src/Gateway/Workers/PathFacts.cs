namespace TpServe.Gateway.Workers;

/// <summary>A measured path from one rank to a peer.</summary>
/// <param name="Peer">Rank at the other end.</param>
/// <param name="RoundTripMicroseconds">Median of a small message there and back.</param>
/// <param name="BytesPerSecond">Bandwidth of a large read.</param>
public sealed record PathFacts(int Peer, double RoundTripMicroseconds, double BytesPerSecond);
