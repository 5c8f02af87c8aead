using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;
using static TpServe.Kernels.Cuda.Intrinsics.SystemMemory;

namespace TpServe.Collectives.CudaIpc;

/// <summary>Times the path between two ranks, one pair at a time; the others are in no operation meanwhile.</summary>
/// <remarks>
/// Launch   ping: one thread of one group. Read: any groups and threads.
/// Cost     ping: one flag there and one back for each round. Read: the peer's data once.
/// </remarks>
internal sealed class IpcPathKernels(CudaQueue queue)
{
    private readonly Action<KernelConfig, IpcView, int, int, int> _ping = queue.Load<IpcView, int, int, int>(PingKernel);
    private readonly Action<KernelConfig, IpcView, long, long> _read = queue.Load<IpcView, long, long>(ReadKernel);

    /// <summary>Enqueues so many flags there and back, numbered from <paramref name="first"/>; both ranks of the pair do.</summary>
    public void Ping(IpcView view, int peer, int first, int rounds) => _ping((1, 1), view, peer, first, rounds);

    /// <summary>Enqueues the reading of a peer's memory.</summary>
    public void Read(int groups, int threads, IpcView view, long from, long bytes) => _read((groups, threads), view, from, bytes);

    [DeviceKernel(Uses = "ld.acquire.sys")]
    private static void PingKernel(IpcView view, int peer, int first, int rounds)
    {
        ArrayView<int> failed = ILGPU.SharedMemory.Allocate<int>(1);
        long mine = IpcDevice.Segment(view, view.Rank) + IpcLayout.PingAt + peer * sizeof(long);
        long theirs = IpcDevice.Segment(view, peer) + IpcLayout.PingAt + view.Rank * sizeof(long);
        bool begins = view.Rank < peer;
        long startedAt = 0;
        for (int round = first; round < first + rounds; round++)
        {
            long flag = (long)round << 32 | (uint)view.Signature;
            if (begins)
                ReleaseLong(theirs, flag);
            if (!IpcDevice.Await(view, mine, flag, peer, failed))
                return;
            if (!begins)
                ReleaseLong(theirs, flag);
            if (round == first)
                startedAt = Nanoseconds(); // the first round waits for the other's launch
        }
        StoreLong(view.Host + IpcLayout.MeasuredAt, Nanoseconds() - startedAt);
    }

    [DeviceKernel(Uses = "ld.global.v4.b32")]
    private static void ReadKernel(IpcView view, long from, long bytes)
    {
        uint seen = 0;
        for (long at = 16L * (Grid.IdxX * Group.DimX + Group.IdxX); at < bytes; at += 16L * Grid.DimX * Group.DimX)
        {
            UInt4 words = LoadWords(from + at);
            seen |= words.A ^ words.B ^ words.C ^ words.D;
        }
        if (seen == 0xFFFFFFFF)
            Store(view.Host + IpcLayout.MeasuredAt, 0); // practically never: the loads must not be dead code
    }
}
