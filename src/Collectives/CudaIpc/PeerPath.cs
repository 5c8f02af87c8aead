namespace TpServe.Collectives.CudaIpc;

/// <summary>What the path to a peer cost when it was proved.</summary>
/// <param name="Peer">The rank at the other end.</param>
/// <param name="RoundTripMicroseconds">Median of a flag there and back.</param>
/// <param name="BytesPerSecond">Median bandwidth of reading its memory, while the other ranks read too.</param>
public readonly record struct PeerPath(int Peer, double RoundTripMicroseconds, double BytesPerSecond);
