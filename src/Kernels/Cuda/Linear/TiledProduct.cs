using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>y = x · Wᵀ of 16-bit weights for many rows: tiles of 128 outputs and 128 rows on tensor cores.</summary>
/// <remarks>
/// Shapes   packed: <see cref="PackedActivations"/>; y [pieces · rows, outputs], strided; stacks: <see cref="TiledSums"/>, as many groups as the grid has.
/// Launch   8 warps a group; a group walks over tiles, rows fastest, so that groups at work share weights. Shared memory: 48 KiB, a ring of three stages
///          of one block of 32 inputs. Any sizes.
/// Numerics inside a segment one accumulator from +0, k16 steps ascending, mma.m16n8k16 with the weights as a; segments by <see cref="LinearPlan"/>. The
///          bits of <see cref="StreamProduct"/>.
/// Cost     2 · rows · outputs · inputs flops; a group reads 16 KiB a stage, mostly from the second cache, for 2^20 flops: compute bound. A stage is 32
///          mma a warp for 12 loads of 16 bytes a lane from shared memory, free of bank conflicts: both operands lie in fragment order, no ldmatrix.
///          A leaf whose sum must wait costs 128 KiB of the second cache's traffic a group.
/// Oracle   exact products of the rounded operands.
/// </remarks>
internal static class TiledProduct
{
    private const int Stages = 3;
    private const int WeightWords = TiledSums.OutputTiles * HalfTiles.BlockWords;
    private const int StageWords = WeightWords + (TiledSums.RowTiles * PackedActivations.HalfWords);

    [DeviceKernel(typeof(BFloatMath), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(BinaryHalfMath), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    internal static void Kernel<T>(
        ArrayView<uint> packed, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<ProductSegment> segments, ArrayView<float> stacks, int levels, ProductShape shape)
        where T : struct, IHalfMath
    {
        ArrayView<uint> ring = SharedMemory.Allocate<uint>(Stages * StageWords);
        int lane = Group.IdxX % 32, warp = Group.IdxX / 32;
        int rowGroups = TiledSums.RowGroups(shape.Rows), all = rowGroups * TiledSums.OutputGroups(shape.Tiles);
        int rowTiles = (shape.Rows + PackedActivations.TileRows - 1) / PackedActivations.TileRows;
        int weightsAt = (warp / 4 * TiledSums.WarpTiles * HalfTiles.BlockWords) + (lane * 4);
        int rowsAt = WeightWords + (warp % 4 * TiledSums.WarpTiles * PackedActivations.HalfWords) + (lane * 4);
        for (int item = Grid.IdxX; item < all; item += Grid.DimX)
        {
            // 1. Where this warp's copies come from; tiles that do not exist repeat the last one.
            int firstTile = item / rowGroups * TiledSums.OutputTiles, firstRowTile = item % rowGroups * TiledSums.RowTiles;
            PlacedTile tile = ProductShape.Place(shape, Math.Min(firstTile + warp, shape.Tiles - 1), w0, w1, w2, (long)shape.Blocks * HalfTiles.BlockWords);
            long w = tile.First + (lane * 4);
            int x0 = (Math.Min(firstRowTile + warp, rowTiles - 1) * shape.Blocks * PackedActivations.HalfWords) + (lane * 4);
            int x1 = (Math.Min(firstRowTile + warp + 8, rowTiles - 1) * shape.Blocks * PackedActivations.HalfWords) + (lane * 4);
            Group.Barrier(); // the ring is free: every warp has done its last tile
            for (int first = 0; first < Stages; first++)
                Fetch(ring, first * StageWords, tile.Weights, w, packed, x0, x1, first, shape.Blocks, warp, lane);
            AsyncCopies.WaitAllButTwo();
            Group.Barrier();
            StepFragments rows = StepFragments.Load(ring, rowsAt, PackedActivations.HalfWords), even = StepFragments.Load(ring, weightsAt, HalfTiles.BlockWords);

            WarpSums total = default;
            int depth = 0, stage = 0;
            for (int s = 0; s < shape.Segments; s++)
            {
                ProductSegment segment = segments[s];
                WarpSums sums = default;
                for (int block = segment.First; block < segment.First + segment.Blocks; block++)
                {
                    // 2. 64 outputs by 32 rows by inputs 0..15 of the block, while its second half's weights come from shared memory.
                    StepFragments odd = StepFragments.Load(ring, stage + weightsAt + HalfTiles.BlockWords / 2, HalfTiles.BlockWords);
                    sums.A = Even<T>(even.A, rows, sums.A);
                    sums.B = Even<T>(even.B, rows, sums.B);
                    sums.C = Even<T>(even.C, rows, sums.C);
                    sums.D = Even<T>(even.D, rows, sums.D);

                    // 3. The next block has arrived for all, and all have read this one: the one after the next two takes its place.
                    AsyncCopies.WaitAllButOne();
                    Group.Barrier();
                    Fetch(ring, stage, tile.Weights, w, packed, x0, x1, block + Stages, shape.Blocks, warp, lane);
                    if (block + 1 < shape.Blocks)
                        stage = stage == (Stages - 1) * StageWords ? 0 : stage + StageWords;

                    // 4. Inputs 16..31, while the next block's first operands come.
                    StepFragments nextRows = StepFragments.Load(ring, stage + rowsAt, PackedActivations.HalfWords);
                    even = StepFragments.Load(ring, stage + weightsAt, HalfTiles.BlockWords);
                    sums.A = Odd<T>(odd.A, rows, sums.A);
                    sums.B = Odd<T>(odd.B, rows, sums.B);
                    sums.C = Odd<T>(odd.C, rows, sums.C);
                    sums.D = Odd<T>(odd.D, rows, sums.D);
                    rows = nextRows;
                }

                // 5. Push; a merge with the top needs no memory.
                if (segment.Merges > 0)
                {
                    total = WarpSums.Add(total, sums);
                }
                else
                {
                    if (depth > 0)
                        WarpSums.Store(stacks, TiledSums.At(levels, depth - 1), TiledSums.GroupSize, total);
                    total = sums;
                    depth++;
                }
                for (int merge = 1; merge < segment.Merges; merge++)
                {
                    depth--;
                    total = WarpSums.Add(WarpSums.Load(stacks, TiledSums.At(levels, depth - 1), TiledSums.GroupSize), total);
                }
            }

            // 6. What is left are the pieces.
            TiledSums.WritePieces(y, w0, w1, w2, shape, firstTile, firstRowTile, warp, stacks, levels, depth, total);
        }
    }

    /// <summary>Starts this warp's copies of a block: one output tile and two row tiles. Beyond the last block the batch is empty.</summary>
    private static void Fetch(ArrayView<uint> ring, int stage, ArrayView<uint> weights, long w, ArrayView<uint> packed, int x0, int x1, int block, int blocks, int warp, int lane)
    {
        if (block < blocks)
        {
            stage += lane * 4;
            long from = w + ((long)block * HalfTiles.BlockWords);
            int to = stage + (warp * HalfTiles.BlockWords), rows = stage + WeightWords + (warp * PackedActivations.HalfWords), x = block * PackedActivations.HalfWords;
            AsyncCopies.Copy16(ref ring[to], ref weights[from]);
            AsyncCopies.Copy16(ref ring[to + 128], ref weights[from + 128]);
            AsyncCopies.Copy16(ref ring[rows], ref packed[x0 + x]);
            AsyncCopies.Copy16(ref ring[rows + (8 * PackedActivations.HalfWords)], ref packed[x1 + x]);
        }
        AsyncCopies.Commit();
    }

    private static OutputSums Even<T>(UInt4 a, StepFragments rows, OutputSums sums) where T : struct, IHalfMath => new()
    {
        A = T.Multiply(a, new UInt2 { A = rows.A.A, B = rows.A.B }, sums.A),
        B = T.Multiply(a, new UInt2 { A = rows.B.A, B = rows.B.B }, sums.B),
        C = T.Multiply(a, new UInt2 { A = rows.C.A, B = rows.C.B }, sums.C),
        D = T.Multiply(a, new UInt2 { A = rows.D.A, B = rows.D.B }, sums.D),
    };

    private static OutputSums Odd<T>(UInt4 a, StepFragments rows, OutputSums sums) where T : struct, IHalfMath => new()
    {
        A = T.Multiply(a, new UInt2 { A = rows.A.C, B = rows.A.D }, sums.A),
        B = T.Multiply(a, new UInt2 { A = rows.B.C, B = rows.B.D }, sums.B),
        C = T.Multiply(a, new UInt2 { A = rows.C.C, B = rows.C.D }, sums.C),
        D = T.Multiply(a, new UInt2 { A = rows.D.C, B = rows.D.D }, sums.D),
    };

    /// <summary>Four operands of 16 bytes a lane: 64 outputs by 16 inputs, or 32 rows by 32 inputs.</summary>
    private struct StepFragments
    {
        public UInt4 A;
        public UInt4 B;
        public UInt4 C;
        public UInt4 D;

        public static StepFragments Load(ArrayView<uint> ring, int at, int stride) => new()
        {
            A = SharedLoads.Four(ref ring[at]),
            B = SharedLoads.Four(ref ring[at + stride]),
            C = SharedLoads.Four(ref ring[at + (2 * stride)]),
            D = SharedLoads.Four(ref ring[at + (3 * stride)]),
        };
    }
}
