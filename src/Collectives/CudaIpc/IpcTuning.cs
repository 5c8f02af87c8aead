namespace TpServe.Collectives.CudaIpc;

/// <summary>Sizes that every rank of a group must share, and when to go which way.</summary>
/// <param name="Channels">Groups that an operation may use. 32 of 256 threads leave no group of an H100 (132 multiprocessors) waiting for another.</param>
/// <param name="HalfWords">Words of one half of a channel; a multiple of 16.</param>
/// <param name="ChannelBytes">Bytes for which an operation takes one more channel: 16 bytes for each of 256 threads, one load each.</param>
/// <param name="TwoShotBytes">Bytes of all ranks' pieces from which a sum is cheaper when each rank adds a slice: reading them at some 100 GB/s takes as long as one more round.</param>
/// <param name="Threads">Threads of a group.</param>
internal readonly record struct IpcTuning(int Channels, int HalfWords, int ChannelBytes, long TwoShotBytes, int Threads)
{
    /// <summary>For GPUs: 16 MiB of data a rank.</summary>
    public static IpcTuning Gpu { get; } = new(Channels: 32, HalfWords: 64 << 10, ChannelBytes: 4 << 10, TwoShotBytes: 512 << 10, Threads: IpcSumKernel.MostThreads);

    /// <summary>Bytes of a segment.</summary>
    public long SegmentBytes => IpcLayout.SegmentBytes(Channels, HalfWords);
}
