using ILGPU;
using ILGPU.Runtime;

namespace TpServe.Kernels.Cuda;

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
            Fetch(ring, 0, tile.Weights, w, packed, x0, x1, 0, shape.Blocks, warp, lane);
            Fetch(ring, StageWords, tile.Weights, w, packed, x0, x1, 1, shape.Blocks, warp, lane);

            WarpSums total = default;
            int depth = 0, stage = 0, free = 2 * StageWords;
            for (int s = 0; s < shape.Segments; s++)
            {
                ProductSegment segment = segments[s];
                WarpSums sums = default;
                for (int block = segment.First; block < segment.First + segment.Blocks; block++)
                {
                    // 2. This block has arrived for all; the one after the next takes the place of the one before.
                    AsyncCopies.WaitAllButOne();
                    Group.Barrier();
                    Fetch(ring, free, tile.Weights, w, packed, x0, x1, block + 2, shape.Blocks, warp, lane);

                    // 3. 64 outputs by 32 rows by 32 inputs.
                    UInt4 b0 = SharedLoads.Four(ref ring[stage + rowsAt]), b1 = SharedLoads.Four(ref ring[stage + rowsAt + PackedActivations.HalfWords]);
                    UInt4 b2 = SharedLoads.Four(ref ring[stage + rowsAt + (2 * PackedActivations.HalfWords)]);
                    UInt4 b3 = SharedLoads.Four(ref ring[stage + rowsAt + (3 * PackedActivations.HalfWords)]);
                    sums.A = Multiply<T>(ring, stage + weightsAt, b0, b1, b2, b3, sums.A);
                    sums.B = Multiply<T>(ring, stage + weightsAt + HalfTiles.BlockWords, b0, b1, b2, b3, sums.B);
                    sums.C = Multiply<T>(ring, stage + weightsAt + (2 * HalfTiles.BlockWords), b0, b1, b2, b3, sums.C);
                    sums.D = Multiply<T>(ring, stage + weightsAt + (3 * HalfTiles.BlockWords), b0, b1, b2, b3, sums.D);
                    free = stage;
                    stage = stage == (Stages - 1) * StageWords ? 0 : stage + StageWords;
                }

                // 4. Push; a merge with the top needs no memory.
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

            // 5. What is left are the pieces.
            int warpTile = firstTile + (warp / 4 * TiledSums.WarpTiles), warpRow = (firstRowTile + (warp % 4 * TiledSums.WarpTiles)) * PackedActivations.TileRows;
            TiledSums.Write(y, w0, w1, w2, shape, warpTile, warpRow, depth - 1, total);
            for (int piece = 0; piece < depth - 1; piece++)
                TiledSums.Write(y, w0, w1, w2, shape, warpTile, warpRow, piece, WarpSums.Load(stacks, TiledSums.At(levels, piece), TiledSums.GroupSize));
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

    private static OutputSums Multiply<T>(ArrayView<uint> ring, int at, UInt4 b0, UInt4 b1, UInt4 b2, UInt4 b3, OutputSums sums) where T : struct, IHalfMath
    {
        UInt4 a0 = SharedLoads.Four(ref ring[at]), a1 = SharedLoads.Four(ref ring[at + 128]);
        sums.A = T.Multiply(a0, new UInt2 { A = b0.A, B = b0.B }, sums.A);
        sums.B = T.Multiply(a0, new UInt2 { A = b1.A, B = b1.B }, sums.B);
        sums.C = T.Multiply(a0, new UInt2 { A = b2.A, B = b2.B }, sums.C);
        sums.D = T.Multiply(a0, new UInt2 { A = b3.A, B = b3.B }, sums.D);
        sums.A = T.Multiply(a1, new UInt2 { A = b0.C, B = b0.D }, sums.A);
        sums.B = T.Multiply(a1, new UInt2 { A = b1.C, B = b1.D }, sums.B);
        sums.C = T.Multiply(a1, new UInt2 { A = b2.C, B = b2.D }, sums.C);
        sums.D = T.Multiply(a1, new UInt2 { A = b3.C, B = b3.D }, sums.D);
        return sums;
    }
}
