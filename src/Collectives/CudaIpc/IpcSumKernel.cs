using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;
using static TpServe.Kernels.Cuda.Intrinsics.SystemMemory;

namespace TpServe.Collectives.CudaIpc;

/// <summary>One sum as its kernel needs it.</summary>
internal struct IpcSum
{
    /// <summary>Address of this rank's pieces, <see cref="Elements"/> words each.</summary>
    public long Mine;

    /// <summary>Address of the result; may be <see cref="Mine"/>.</summary>
    public long Result;

    /// <summary>Address of a word for each piece of all ranks: merges that follow it, its number at its rank &lt;&lt; 8, its rank &lt;&lt; 24.</summary>
    public long Schedule;

    /// <summary>Pieces of all ranks.</summary>
    public int Pieces;

    /// <summary>Pieces of this rank.</summary>
    public int MyPieces;

    /// <summary>Words of a piece and of the result.</summary>
    public int Elements;

    /// <summary>Words that a channel takes.</summary>
    public int ChannelElements;

    /// <summary>Words that a round takes of each piece.</summary>
    public int Chunk;

    /// <summary>1 where each rank finishes its slice and the slices are handed round; 0 where each finishes all.</summary>
    public int TwoShot;

    /// <summary>1 for a bitwise or in the place of the sum.</summary>
    public int Or;

    /// <summary>1 where every piece and the result lie on multiples of 16 bytes.</summary>
    public int Aligned;
}

/// <summary>The canonical sum over the ranks' pieces.</summary>
/// <remarks>
/// Shapes   this rank's pieces [MyPieces, Elements], the result [Elements], the same bits on every rank.
/// Launch   one group a channel; at most <see cref="MostThreads"/> threads, at least as many as ranks; <see cref="MostDepth"/> partial sums a thread in shared memory.
/// Numerics an element's pieces are merged left with right in the schedule's order, in float32 and never contracted: neither rank, degree, channels, chunks
///          nor the way leave a trace in the bits.
/// Cost     one-shot: one round; reads every piece of every peer. Two-shot: two rounds; reads 1/degree of the pieces and the other slices of the result.
/// Oracle   Local/LocalGroup.
/// </remarks>
internal sealed class IpcSumKernel(CudaQueue queue)
{
    /// <summary>Threads of a group at most.</summary>
    public const int MostThreads = 256;

    /// <summary>Partial sums alive at once at most: a balanced tree over 512 leaves needs 10.</summary>
    public const int MostDepth = 10;

    /// <summary>Slices and chunks are whole sectors of the result.</summary>
    public const int LineElements = 16;

    private readonly Action<KernelConfig, IpcView, IpcSum> _sum = queue.Load<IpcView, IpcSum>(SumKernel);

    /// <summary>Enqueues it.</summary>
    public void Launch(int channels, int threads, IpcView view, IpcSum sum) => _sum((channels, threads), view, sum);

    [DeviceKernel(Uses = "ld.acquire.sys")]
    internal static void SumKernel(IpcView view, IpcSum sum)
    {
        long startedAt = Nanoseconds();
        ArrayView<int> failed = ILGPU.SharedMemory.Allocate<int>(1);
        ArrayView<UInt4> stack = ILGPU.SharedMemory.Allocate<UInt4>(MostDepth * MostThreads);
        int channel = Grid.IdxX, round = IpcDevice.LastRound(view);
        int first = channel * sum.ChannelElements, end = IntrinsicMath.Min(first + sum.ChannelElements, sum.Elements);
        if (Group.IdxX == 0)
            failed[0] = 0;

        // At least one round, even for nothing: ranks in another operation must be found.
        do
        {
            int count = IntrinsicMath.Clamp(end - first, 0, sum.Chunk);
            round++;

            // 1. Every rank's pieces of the chunk become readable for all.
            long half = IpcDevice.Half(view, view.Rank, channel, round);
            for (int piece = 0; piece < sum.MyPieces; piece++)
                Copy(sum.Mine + ((long)piece * sum.Elements + first) * sizeof(float), half + (long)piece * sum.Chunk * sizeof(float), count, sum.Aligned);
            if (!IpcDevice.Exchange(view, round, failed))
                return;

            // 2. Each finishes the tree: of all elements, or of its slice, which goes into the next round's half too.
            int low = sum.TwoShot == 0 ? 0 : SliceStart(view.Rank, count, view.Degree);
            int high = sum.TwoShot == 0 ? count : SliceStart(view.Rank + 1, count, view.Degree);
            long next = sum.TwoShot == 0 ? 0 : IpcDevice.Half(view, view.Rank, channel, round + 1);
            for (int i = low + 4 * Group.IdxX; i < high; i += 4 * Group.DimX)
            {
                UInt4 total = Finish(view, sum, stack, channel, round, i);
                StoreSome(sum.Result + (first + i) * (long)sizeof(float), total, high - i, sum.Aligned);
                if (next != 0)
                    StoreWords(next + (i - low) * sizeof(float), total);
            }

            // 3. The slices are handed round.
            if (sum.TwoShot != 0)
            {
                round++;
                if (!IpcDevice.Exchange(view, round, failed))
                    return;
                for (int rank = 0; rank < view.Degree; rank++)
                {
                    if (rank == view.Rank)
                        continue;
                    int start = SliceStart(rank, count, view.Degree), length = SliceStart(rank + 1, count, view.Degree) - start;
                    long theirs = IpcDevice.Half(view, rank, channel, round);
                    for (int i = 4 * Group.IdxX; i < length; i += 4 * Group.DimX)
                        StoreSome(sum.Result + (first + start + i) * (long)sizeof(float), LoadWords(theirs + i * sizeof(float)), length - i, sum.Aligned);
                }
            }
            first += count;
        } while (first < end);
        IpcDevice.Close(view, round, startedAt);
    }

    /// <summary>The tree over four neighbouring elements, four pieces read at a time: a peer's memory takes a microsecond to answer.</summary>
    private static UInt4 Finish(IpcView view, IpcSum sum, ArrayView<UInt4> stack, int channel, int round, int element)
    {
        int depth = 0;
        UInt4 top = default;
        for (int piece = 0; piece < sum.Pieces; piece += 4)
        {
            UInt4 a = Piece(view, sum, channel, round, piece, element), b = Piece(view, sum, channel, round, piece + 1, element);
            UInt4 c = Piece(view, sum, channel, round, piece + 2, element), d = Piece(view, sum, channel, round, piece + 3, element);
            for (int i = 0; i < 4 && piece + i < sum.Pieces; i++)
            {
                if (piece + i > 0)
                {
                    stack[depth * MostThreads + Group.IdxX] = top;
                    depth++;
                }
                top = i == 0 ? a : i == 1 ? b : i == 2 ? c : d;
                for (int merge = Load(sum.Schedule + (piece + i) * sizeof(int)) & 0xFF; merge > 0; merge--)
                {
                    depth--;
                    top = Merge(stack[depth * MostThreads + Group.IdxX], top, sum.Or);
                }
            }
        }
        return top;
    }

    /// <summary>Four elements of a piece, from its rank's half; nothing where there is no such piece.</summary>
    private static UInt4 Piece(IpcView view, IpcSum sum, int channel, int round, int piece, int element)
    {
        if (piece >= sum.Pieces)
            return default;
        int entry = Load(sum.Schedule + piece * sizeof(int));
        int rank = entry >> 24, index = entry >> 8 & 0xFFFF;
        return LoadWords(IpcDevice.Half(view, rank, channel, round) + ((long)index * sum.Chunk + element) * sizeof(float));
    }

    private static UInt4 Merge(UInt4 left, UInt4 right, int or) => or != 0
        ? new UInt4 { A = left.A | right.A, B = left.B | right.B, C = left.C | right.C, D = left.D | right.D }
        : new UInt4 { A = Add(left.A, right.A), B = Add(left.B, right.B), C = Add(left.C, right.C), D = Add(left.D, right.D) };

    private static uint Add(uint left, uint right) => Interop.FloatAsInt(DeviceMath.Add(Interop.IntAsFloat(left), Interop.IntAsFloat(right)));

    /// <summary>Where slice <paramref name="slice"/> of a chunk begins; for slice = degree, the chunk's end.</summary>
    private static int SliceStart(int slice, int count, int degree)
    {
        int lines = (count + LineElements - 1) / LineElements;
        return IntrinsicMath.Min((int)((long)lines * slice / degree) * LineElements, count);
    }

    /// <summary>Words go from a tensor into a half, which is aligned and read four words at a time: zeros fill the last four.</summary>
    private static void Copy(long from, long to, int count, int aligned)
    {
        int whole = aligned != 0 ? count / 4 * 4 : 0;
        for (int i = 4 * Group.IdxX; i < whole; i += 4 * Group.DimX)
            StoreWords(to + i * sizeof(float), LoadWords(from + i * sizeof(float)));
        for (int i = whole + Group.IdxX; i < (count + 3) / 4 * 4; i += Group.DimX)
            Store(to + i * sizeof(float), i < count ? Load(from + i * sizeof(float)) : 0);
    }

    /// <summary>The first <paramref name="count"/> of four words go into a tensor.</summary>
    private static void StoreSome(long to, UInt4 words, int count, int aligned)
    {
        if (aligned != 0 && count >= 4)
        {
            StoreWords(to, words);
            return;
        }
        Store(to, (int)words.A);
        if (count > 1)
            Store(to + sizeof(uint), (int)words.B);
        if (count > 2)
            Store(to + 2 * sizeof(uint), (int)words.C);
        if (count > 3)
            Store(to + 3 * sizeof(uint), (int)words.D);
    }
}
