using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>y = x · Wᵀ of 16-bit weights for few rows: the weights stream through tensor cores, once for every 32 rows.</summary>
/// <remarks>
/// Shapes   x: <see cref="PackedActivations"/>, or up to 8 rows of float32 that the kernel rounds itself, which saves a launch; y [pieces · rows, outputs], strided.
/// Launch   a group of 8 warps per tile of 16 outputs and chunk of up to 32 rows, chunks of one tile beside each other so that the second cache serves all
///          but the first; warps take segments in turn. Shared memory: 39 to 46 KiB by row tiles.
/// Numerics inside a segment one accumulator from +0, k16 steps ascending, mma.m16n8k16 with the weights as a; segments by <see cref="LinearPlan"/>. The
///          bits of <see cref="TiledProduct"/>.
/// Cost     reads 2 · outputs · inputs bytes of weights once, and the packed rows, 2 · 8 · inputs bytes a row tile, once a group, mostly from the
///          second cache: memory bound. A lane has eight 16-byte loads of weights in flight, a warp 4 KiB, a group 32 KiB.
/// Oracle   exact products of the rounded operands.
/// </remarks>
internal static class StreamProduct
{
    /// <summary>Threads of a group.</summary>
    public const int GroupSize = 32 * Warps;

    private const int Warps = 8;

    [DeviceKernel(typeof(BFloatMath), typeof(OneRowTile), typeof(PackedHalves), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(BFloatMath), typeof(TwoRowTiles), typeof(PackedHalves), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(BFloatMath), typeof(FourRowTiles), typeof(PackedHalves), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(BFloatMath), typeof(OneRowTile), typeof(FloatRows), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(BinaryHalfMath), typeof(OneRowTile), typeof(PackedHalves), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(BinaryHalfMath), typeof(TwoRowTiles), typeof(PackedHalves), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(BinaryHalfMath), typeof(FourRowTiles), typeof(PackedHalves), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(BinaryHalfMath), typeof(OneRowTile), typeof(FloatRows), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    internal static void Kernel<T, TRows, TInput>(
        ArrayView<uint> x, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<ProductSegment> segments, ProductShape shape)
        where T : struct, IHalfMath
        where TRows : struct, IRowTiles
        where TInput : struct, IHalfInput
    {
        ArrayView<float> slots = SharedMemory.Allocate<float>(TRows.Slots * TRows.Count * SegmentSums.TileElements);
        ArrayView<float> stack = SharedMemory.Allocate<float>(SegmentSums.StackLevels * TRows.Count * SegmentSums.TileElements);
        int lane = Group.IdxX % 32, warp = Group.IdxX / 32, depth = 0;
        int chunks = RowChunks(shape.Rows, TRows.Count), firstRow = Grid.IdxX % chunks * TRows.Count * PackedActivations.TileRows;
        PlacedTile tile = ProductShape.Place(shape, Grid.IdxX / chunks, w0, w1, w2, (long)shape.Blocks * HalfTiles.BlockWords);
        long weights = tile.First + (lane * 4);

        // Lanes of rows that do not exist read the last one's words: no more bytes, and nobody looks at their sums.
        int row = firstRow + (lane / 4), last = shape.Rows - 1;
        int x0 = TInput.Start(shape, Math.Min(row, last), lane), x1 = TInput.Start(shape, Math.Min(row + 8, last), lane);
        int x2 = TInput.Start(shape, Math.Min(row + 16, last), lane), x3 = TInput.Start(shape, Math.Min(row + 24, last), lane);
        float top0 = 0f, top1 = 0f;
        for (int round = 0; round < shape.Segments; round += TRows.Slots)
        {
            // 1. Each warp its segments of the round.
            int end = Math.Min(shape.Segments, round + TRows.Slots);
            for (int s = round + warp; s < end; s += Warps)
            {
                ProductSegment segment = segments[s];
                Float4 sum0 = default, sum1 = default, sum2 = default, sum3 = default;
                int block = segment.First, after = segment.First + segment.Blocks;
                for (; block + 4 <= after; block += 4)
                {
                    long at = weights + ((long)block * HalfTiles.BlockWords);
                    UInt4 a0 = StreamLoads.Four(ref tile.Weights[at]), a1 = StreamLoads.Four(ref tile.Weights[at + 128]);
                    UInt4 a2 = StreamLoads.Four(ref tile.Weights[at + 256]), a3 = StreamLoads.Four(ref tile.Weights[at + 384]);
                    UInt4 a4 = StreamLoads.Four(ref tile.Weights[at + 512]), a5 = StreamLoads.Four(ref tile.Weights[at + 640]);
                    UInt4 a6 = StreamLoads.Four(ref tile.Weights[at + 768]), a7 = StreamLoads.Four(ref tile.Weights[at + 896]);
                    sum0 = Four<T, TInput>(x, x0, block, a0, a1, a2, a3, a4, a5, a6, a7, sum0);
                    if (TRows.Count > 1)
                        sum1 = Four<T, TInput>(x, x1, block, a0, a1, a2, a3, a4, a5, a6, a7, sum1);
                    if (TRows.Count > 2)
                    {
                        sum2 = Four<T, TInput>(x, x2, block, a0, a1, a2, a3, a4, a5, a6, a7, sum2);
                        sum3 = Four<T, TInput>(x, x3, block, a0, a1, a2, a3, a4, a5, a6, a7, sum3);
                    }
                }
                for (; block < after; block++)
                {
                    long at = weights + ((long)block * HalfTiles.BlockWords);
                    UInt4 a0 = StreamLoads.Four(ref tile.Weights[at]), a1 = StreamLoads.Four(ref tile.Weights[at + 128]);
                    sum0 = One<T, TInput>(x, x0, block, a0, a1, sum0);
                    if (TRows.Count > 1)
                        sum1 = One<T, TInput>(x, x1, block, a0, a1, sum1);
                    if (TRows.Count > 2)
                    {
                        sum2 = One<T, TInput>(x, x2, block, a0, a1, sum2);
                        sum3 = One<T, TInput>(x, x3, block, a0, a1, sum3);
                    }
                }
                SegmentSums.PutAll<TRows>(slots, s - round, lane, sum0, sum1, sum2, sum3);
            }
            Group.Barrier();

            // 2. Each thread its elements, over the round's segments in order.
            int elements = TRows.Count * SegmentSums.TileElements, element = Group.IdxX;
            if (element < elements)
                top0 = SegmentSums.Add(slots, stack, segments, round, end, elements, element, depth, top0);
            if (TRows.Count > 2)
                top1 = SegmentSums.Add(slots, stack, segments, round, end, elements, element + GroupSize, depth, top1);
            depth = SegmentSums.Depth(segments, round, end, depth);
            Group.Barrier(); // the slots are free again
        }

        // 3. What is left are the pieces.
        SegmentSums.WriteAll<TRows>(y, stack, shape, tile, firstRow, GroupSize, depth, top0, top1);
    }

    /// <summary>Chunks of so many row tiles that a step is cut into, each a group of its own.</summary>
    public static int RowChunks(int rows, int rowTiles) => (rows + (rowTiles * PackedActivations.TileRows) - 1) / (rowTiles * PackedActivations.TileRows);

    private static Float4 One<T, TInput>(ArrayView<uint> x, int at, int block, UInt4 a0, UInt4 a1, Float4 sum)
        where T : struct, IHalfMath
        where TInput : struct, IHalfInput =>
        Two<T>(a0, a1, TInput.Load<T>(Lane<TInput>(x, at, block), 0), sum);

    private static Float4 Four<T, TInput>(
        ArrayView<uint> x, int at, int block, UInt4 a0, UInt4 a1, UInt4 a2, UInt4 a3, UInt4 a4, UInt4 a5, UInt4 a6, UInt4 a7, Float4 sum)
        where T : struct, IHalfMath
        where TInput : struct, IHalfInput
    {
        ArrayView<uint> lane = Lane<TInput>(x, at, block);
        sum = Two<T>(a0, a1, TInput.Load<T>(lane, 0), sum);
        sum = Two<T>(a2, a3, TInput.Load<T>(lane, TInput.BlockWords), sum);
        sum = Two<T>(a4, a5, TInput.Load<T>(lane, 2 * TInput.BlockWords), sum);
        return Two<T>(a6, a7, TInput.Load<T>(lane, 3 * TInput.BlockWords), sum);
    }

    private static Float4 Two<T>(UInt4 a0, UInt4 a1, UInt4 b, Float4 sum) where T : struct, IHalfMath =>
        T.Multiply(a1, new UInt2 { A = b.C, B = b.D }, T.Multiply(a0, new UInt2 { A = b.A, B = b.B }, sum));

    // One address for the blocks of a batch: theirs are constants away.
    private static ArrayView<uint> Lane<TInput>(ArrayView<uint> x, int at, int block) where TInput : struct, IHalfInput
    {
        long first = at + ((long)block * TInput.BlockWords);
        return x.SubView(first, x.Length - first);
    }
}
