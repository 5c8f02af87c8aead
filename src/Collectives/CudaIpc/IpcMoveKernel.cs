using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using static TpServe.Kernels.Cuda.Intrinsics.SystemMemory;

namespace TpServe.Collectives.CudaIpc;

/// <summary>One exchange of columns as its kernel needs it.</summary>
internal struct IpcMove
{
    /// <summary>Address of this rank's columns, dense.</summary>
    public long Source;

    /// <summary>Address of the whole matrix; 0 on a rank that does not read.</summary>
    public long Destination;

    /// <summary>Address of degree + 1 words: the first column of each rank, and their number.</summary>
    public long Firsts;

    /// <summary>Rows.</summary>
    public int Rows;

    /// <summary>Words of the rank that has most; their number decides the rounds.</summary>
    public int Longest;

    /// <summary>Words that a channel takes of each rank.</summary>
    public int ChannelElements;

    /// <summary>1 where this rank's own columns are in place already.</summary>
    public int InPlace;
}

/// <summary>Lays the ranks' columns side by side: what AllGather, Gather, Broadcast and Barrier are made of.</summary>
/// <remarks>
/// Shapes   x [Rows, this rank's columns], y [Rows, all columns] on ranks that read.
/// Launch   one group a channel; at least as many threads as ranks.
/// Numerics words are copied.
/// Cost     one round a chunk; a reading rank reads every peer's words once.
/// Oracle   Local/LocalGroup.
/// </remarks>
internal sealed class IpcMoveKernel(CudaQueue queue)
{
    private readonly Action<KernelConfig, IpcView, IpcMove> _move = queue.Load<IpcView, IpcMove>(MoveKernel);

    /// <summary>Enqueues it.</summary>
    public void Launch(int channels, int threads, IpcView view, IpcMove move) => _move((channels, threads), view, move);

    [DeviceKernel(Uses = "st.release.sys")]
    internal static void MoveKernel(IpcView view, IpcMove move)
    {
        long startedAt = Nanoseconds();
        ArrayView<int> failed = ILGPU.SharedMemory.Allocate<int>(1);
        int channel = Grid.IdxX, round = IpcDevice.LastRound(view);
        int first = channel * move.ChannelElements, end = IntrinsicMath.Min(first + move.ChannelElements, move.Longest);
        int columns = Load(move.Firsts + view.Degree * sizeof(int));
        if (Group.IdxX == 0)
            failed[0] = 0;
        do
        {
            int count = IntrinsicMath.Clamp(end - first, 0, view.HalfWords);
            round++;

            // 1. This rank's words of the chunk.
            long half = IpcDevice.Half(view, view.Rank, channel, round);
            int mine = Part(move, view.Rank, first, count);
            for (int i = Group.IdxX; i < mine; i += Group.DimX)
                Store(half + i * sizeof(int), Load(move.Source + ((long)first + i) * sizeof(int)));
            if (!IpcDevice.Exchange(view, round, failed))
                return;

            // 2. Everyone's go to their rows.
            for (int rank = 0; rank < view.Degree; rank++)
            {
                if (move.Destination == 0 || (rank == view.Rank && move.InPlace != 0))
                    continue;
                int theirs = Part(move, rank, first, count), column = Load(move.Firsts + rank * sizeof(int));
                int width = Load(move.Firsts + (rank + 1) * sizeof(int)) - column;
                long from = IpcDevice.Half(view, rank, channel, round);
                for (int i = Group.IdxX; i < theirs; i += Group.DimX)
                {
                    int row = (first + i) / width;
                    long to = (long)row * columns + column + (first + i - row * width);
                    Store(move.Destination + to * sizeof(int), Load(from + i * sizeof(int)));
                }
            }
            first += count;
        } while (first < end);
        IpcDevice.Close(view, round, startedAt);
    }

    /// <summary>What a rank's words contribute to the chunk [first, first + count).</summary>
    private static int Part(IpcMove move, int rank, int first, int count)
    {
        int width = Load(move.Firsts + (rank + 1) * sizeof(int)) - Load(move.Firsts + rank * sizeof(int));
        return IntrinsicMath.Clamp(move.Rows * width - first, 0, count);
    }
}
