using ILGPU;
using ILGPU.Runtime;

namespace TpServe.Kernels.Cuda;

/// <summary>y = x · Wᵀ of 16-bit weights for up to 32 rows: the weights stream once through tensor cores.</summary>
/// <remarks>
/// Shapes   packed: <see cref="PackedActivations"/>; y [pieces · rows, outputs], strided.
/// Launch   a group of 8 warps per tile of 16 outputs; warps take segments in turn. Shared memory: 24 to 46 KiB by row tiles.
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

    [DeviceKernel(typeof(BFloatMath), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(BFloatMath), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(BFloatMath), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(BinaryHalfMath), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(BinaryHalfMath), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(BinaryHalfMath), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    internal static void Kernel<T, TRows>(
        ArrayView<uint> packed, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<ProductSegment> segments, ProductShape shape)
        where T : struct, IHalfMath
        where TRows : struct, IRowTiles
    {
        ArrayView<float> slots = SharedMemory.Allocate<float>(TRows.Slots * TRows.Count * SegmentSums.TileElements);
        ArrayView<float> stack = SharedMemory.Allocate<float>(SegmentSums.StackLevels * TRows.Count * SegmentSums.TileElements);
        int lane = Group.IdxX % 32, warp = Group.IdxX / 32, depth = 0;
        PlacedTile tile = ProductShape.Place(shape, Grid.IdxX, w0, w1, w2, (long)shape.Blocks * HalfTiles.BlockWords);
        long weights = tile.First + (lane * 4);

        // Lanes of rows that do not exist read the last one's words: no more bytes, and nobody looks at their sums.
        int x0 = Source(shape, 0, lane), x1 = Source(shape, 1, lane), x2 = Source(shape, 2, lane), x3 = Source(shape, 3, lane);
        float top0 = 0f, top1 = 0f;
        for (int round = 0; round < shape.Segments; round += TRows.Slots)
        {
            // 1. Each warp its segments of the round.
            int end = Math.Min(shape.Segments, round + TRows.Slots);
            for (int s = round + warp; s < end; s += Warps)
            {
                ProductSegment segment = segments[s];
                Float4 sum0 = default, sum1 = default, sum2 = default, sum3 = default;
                int block = segment.First, last = segment.First + segment.Blocks;
                for (; block + 4 <= last; block += 4)
                {
                    long at = weights + ((long)block * HalfTiles.BlockWords);
                    UInt4 a0 = StreamLoads.Four(ref tile.Weights[at]), a1 = StreamLoads.Four(ref tile.Weights[at + 128]);
                    UInt4 a2 = StreamLoads.Four(ref tile.Weights[at + 256]), a3 = StreamLoads.Four(ref tile.Weights[at + 384]);
                    UInt4 a4 = StreamLoads.Four(ref tile.Weights[at + 512]), a5 = StreamLoads.Four(ref tile.Weights[at + 640]);
                    UInt4 a6 = StreamLoads.Four(ref tile.Weights[at + 768]), a7 = StreamLoads.Four(ref tile.Weights[at + 896]);
                    int x = block * PackedActivations.HalfWords;
                    sum0 = Four<T>(packed, x0 + x, a0, a1, a2, a3, a4, a5, a6, a7, sum0);
                    if (TRows.Count > 1)
                        sum1 = Four<T>(packed, x1 + x, a0, a1, a2, a3, a4, a5, a6, a7, sum1);
                    if (TRows.Count > 2)
                    {
                        sum2 = Four<T>(packed, x2 + x, a0, a1, a2, a3, a4, a5, a6, a7, sum2);
                        sum3 = Four<T>(packed, x3 + x, a0, a1, a2, a3, a4, a5, a6, a7, sum3);
                    }
                }
                for (; block < last; block++)
                {
                    long at = weights + ((long)block * HalfTiles.BlockWords);
                    UInt4 a0 = StreamLoads.Four(ref tile.Weights[at]), a1 = StreamLoads.Four(ref tile.Weights[at + 128]);
                    int x = block * PackedActivations.HalfWords;
                    sum0 = One<T>(packed, x0 + x, a0, a1, sum0);
                    if (TRows.Count > 1)
                        sum1 = One<T>(packed, x1 + x, a0, a1, sum1);
                    if (TRows.Count > 2)
                    {
                        sum2 = One<T>(packed, x2 + x, a0, a1, sum2);
                        sum3 = One<T>(packed, x3 + x, a0, a1, sum3);
                    }
                }
                SegmentSums.Put(slots, s - round, TRows.Count, 0, lane, sum0);
                if (TRows.Count > 1)
                    SegmentSums.Put(slots, s - round, TRows.Count, 1, lane, sum1);
                if (TRows.Count > 2)
                {
                    SegmentSums.Put(slots, s - round, TRows.Count, 2, lane, sum2);
                    SegmentSums.Put(slots, s - round, TRows.Count, 3, lane, sum3);
                }
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
        int all = TRows.Count * SegmentSums.TileElements;
        if (Group.IdxX < all)
            SegmentSums.Write(y, stack, shape, tile, all, Group.IdxX, depth, top0);
        if (TRows.Count > 2)
            SegmentSums.Write(y, stack, shape, tile, all, Group.IdxX + GroupSize, depth, top1);
    }

    /// <summary>A lane's first word of a row tile.</summary>
    private static int Source(ProductShape shape, int tile, int lane)
    {
        int row = Math.Min((tile * PackedActivations.TileRows) + (lane / 4), shape.Rows - 1);
        return (row / PackedActivations.TileRows * shape.Blocks * PackedActivations.HalfWords) + (row % PackedActivations.TileRows * 16) + (lane % 4 * 4);
    }

    private static Float4 One<T>(ArrayView<uint> packed, int at, UInt4 a0, UInt4 a1, Float4 sum) where T : struct, IHalfMath
    {
        UInt4 b = StreamLoads.FourShared(ref packed[at]);
        sum = T.Multiply(a0, new UInt2 { A = b.A, B = b.B }, sum);
        return T.Multiply(a1, new UInt2 { A = b.C, B = b.D }, sum);
    }

    private static Float4 Four<T>(ArrayView<uint> packed, int at, UInt4 a0, UInt4 a1, UInt4 a2, UInt4 a3, UInt4 a4, UInt4 a5, UInt4 a6, UInt4 a7, Float4 sum)
        where T : struct, IHalfMath
    {
        UInt4 b0 = StreamLoads.FourShared(ref packed[at]), b1 = StreamLoads.FourShared(ref packed[at + PackedActivations.HalfWords]);
        UInt4 b2 = StreamLoads.FourShared(ref packed[at + (2 * PackedActivations.HalfWords)]), b3 = StreamLoads.FourShared(ref packed[at + (3 * PackedActivations.HalfWords)]);
        sum = T.Multiply(a0, new UInt2 { A = b0.A, B = b0.B }, sum);
        sum = T.Multiply(a1, new UInt2 { A = b0.C, B = b0.D }, sum);
        sum = T.Multiply(a2, new UInt2 { A = b1.A, B = b1.B }, sum);
        sum = T.Multiply(a3, new UInt2 { A = b1.C, B = b1.D }, sum);
        sum = T.Multiply(a4, new UInt2 { A = b2.A, B = b2.B }, sum);
        sum = T.Multiply(a5, new UInt2 { A = b2.C, B = b2.D }, sum);
        sum = T.Multiply(a6, new UInt2 { A = b3.A, B = b3.B }, sum);
        return T.Multiply(a7, new UInt2 { A = b3.C, B = b3.D }, sum);
    }
}
