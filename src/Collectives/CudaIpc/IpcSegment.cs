namespace TpServe.Collectives.CudaIpc;

/// <summary>A rank's segment as its peers are told of it.</summary>
/// <param name="Handle">What the driver opens it by.</param>
/// <param name="Bytes">Its size, which is the same on every rank.</param>
/// <param name="DeviceUuid">Of the GPU it lies on.</param>
public sealed record IpcSegment(ReadOnlyMemory<byte> Handle, long Bytes, string DeviceUuid);
