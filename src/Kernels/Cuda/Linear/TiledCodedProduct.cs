using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>y = x · Wᵀ of quantised weights and activations for many rows: tiles of 128 outputs and 128 rows on integer tensor cores.</summary>
/// <remarks>
/// Shapes   packed: <see cref="PackedActivations"/>; y [pieces · rows, outputs], strided; stacks: <see cref="TiledSums"/>, as many groups as the grid has.
/// Launch   as <see cref="TiledProduct"/>; a stage is at most 12 KiB.
/// Numerics integer products are exact; <see cref="CodedSums"/> over ascending blocks; segments by <see cref="LinearPlan"/>. The bits of
///          <see cref="StreamCodedProduct"/> and <see cref="PlainCodedProduct"/>.
/// Cost     2 · rows · outputs · inputs integer operations, and for every 32 inputs of an output and row one conversion, one product and one fused
///          multiply-add (twice with halves, one more for a minimum): bound by those.
/// Oracle   <see cref="PlainCodedProduct"/>, equal bit for bit.
/// </remarks>
internal static class TiledCodedProduct
{
    private const int Stages = 3;
    private const int ChunkWords = 4;

    [DeviceKernel(typeof(CodedLayout<OffsetNibbleCodes, HalfScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, HalfScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, HalfScaleMinimums>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, SixBitScaleMinimums>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScaleMinimums>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SixBitScaleMinimums>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, ByteHalfScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, NibbleHalfScaleMinimums>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, SingleScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, SingleScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, HalfPairScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<OddWords>, SingleScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ThreeBitsWords>, SingleScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, SingleScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, EighthByteHalfScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, SingleScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, EighthByteHalfScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SingleScales>), Uses = "mma.sync", GroupSize = TiledSums.GroupSize)]
    internal static void Kernel<T>(
        ArrayView<uint> packed, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<ProductSegment> segments, ArrayView<float> stacks, int levels, ProductShape shape)
        where T : struct, ICodedLayout
    {
        int weightWords = TiledSums.OutputTiles * T.BlockWords, stageWords = weightWords + (TiledSums.RowTiles * PackedActivations.CodedWords);
        ArrayView<uint> ring = SharedMemory.Allocate<uint>(
            Stages * ((TiledSums.OutputTiles * T.BlockWords) + (TiledSums.RowTiles * PackedActivations.CodedWords)));
        int lane = Group.IdxX % 32, warp = Group.IdxX / 32;
        int rowGroups = TiledSums.RowGroups(shape.Rows), all = rowGroups * TiledSums.OutputGroups(shape.Tiles);
        int rowTiles = (shape.Rows + PackedActivations.TileRows - 1) / PackedActivations.TileRows;
        int weightsAt = warp / 4 * TiledSums.WarpTiles * T.BlockWords;
        int rowsAt = weightWords + (warp % 4 * TiledSums.WarpTiles * PackedActivations.CodedWords);
        for (int item = Grid.IdxX; item < all; item += Grid.DimX)
        {
            // 1. Where this warp's copies come from; tiles that do not exist repeat the last one.
            int firstTile = item / rowGroups * TiledSums.OutputTiles, firstRowTile = item % rowGroups * TiledSums.RowTiles;
            PlacedTile tile = ProductShape.Place(shape, Math.Min(firstTile + warp, shape.Tiles - 1), w0, w1, w2, (long)shape.Blocks * T.BlockWords);
            int x0 = Math.Min(firstRowTile + warp, rowTiles - 1) * shape.Blocks * PackedActivations.CodedWords;
            int x1 = Math.Min(firstRowTile + warp + 8, rowTiles - 1) * shape.Blocks * PackedActivations.CodedWords;
            Group.Barrier(); // the ring is free: every warp has done its last tile
            Fetch<T>(ring, 0, tile, packed, x0, x1, 0, shape.Blocks, warp, lane);
            Fetch<T>(ring, stageWords, tile, packed, x0, x1, 1, shape.Blocks, warp, lane);

            WarpSums total = default;
            int depth = 0, stage = 0, free = 2 * stageWords;
            for (int s = 0; s < shape.Segments; s++)
            {
                ProductSegment segment = segments[s];
                WarpSums sums = default;
                for (int block = segment.First; block < segment.First + segment.Blocks; block++)
                {
                    // 2. This block has arrived for all; the one after the next takes the place of the one before.
                    AsyncCopies.WaitAllButOne();
                    Group.Barrier();
                    Fetch<T>(ring, free, tile, packed, x0, x1, block + 2, shape.Blocks, warp, lane);

                    // 3. 64 outputs by 32 rows by 32 inputs.
                    PackedBlock b0 = PackedBlock.Load<T>(ring, stage + rowsAt, lane), b1 = PackedBlock.Load<T>(ring, stage + rowsAt + PackedActivations.CodedWords, lane);
                    PackedBlock b2 = PackedBlock.Load<T>(ring, stage + rowsAt + (2 * PackedActivations.CodedWords), lane);
                    PackedBlock b3 = PackedBlock.Load<T>(ring, stage + rowsAt + (3 * PackedActivations.CodedWords), lane);
                    sums.A = Add<T>(ring, stage + weightsAt, lane, b0, b1, b2, b3, sums.A);
                    sums.B = Add<T>(ring, stage + weightsAt + T.BlockWords, lane, b0, b1, b2, b3, sums.B);
                    sums.C = Add<T>(ring, stage + weightsAt + (2 * T.BlockWords), lane, b0, b1, b2, b3, sums.C);
                    sums.D = Add<T>(ring, stage + weightsAt + (3 * T.BlockWords), lane, b0, b1, b2, b3, sums.D);
                    free = stage;
                    stage = stage == (Stages - 1) * stageWords ? 0 : stage + stageWords;
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
            TiledSums.WritePieces(y, w0, w1, w2, shape, firstTile, firstRowTile, warp, stacks, levels, depth, total);
        }
    }

    /// <summary>Starts this warp's copies of a block: one output tile and two row tiles. Beyond the last block the batch is empty.</summary>
    private static void Fetch<T>(ArrayView<uint> ring, int stage, PlacedTile tile, ArrayView<uint> packed, int x0, int x1, int block, int blocks, int warp, int lane)
        where T : struct, ICodedLayout
    {
        if (block < blocks)
        {
            long from = tile.First + ((long)block * T.BlockWords);
            int to = stage + (warp * T.BlockWords), rows = stage + (TiledSums.OutputTiles * T.BlockWords) + (warp * PackedActivations.CodedWords);
            int x = (block * PackedActivations.CodedWords) + (lane * ChunkWords);
            for (int word = lane * ChunkWords; word < T.BlockWords; word += 32 * ChunkWords)
                AsyncCopies.Copy16(ref ring[to + word], ref tile.Weights[from + word]);
            if (lane < PackedActivations.CodedWords / ChunkWords)
            {
                AsyncCopies.Copy16(ref ring[rows + (lane * ChunkWords)], ref packed[x0 + x]);
                AsyncCopies.Copy16(ref ring[rows + (8 * PackedActivations.CodedWords) + (lane * ChunkWords)], ref packed[x1 + x]);
            }
        }
        AsyncCopies.Commit();
    }

    private static OutputSums Add<T>(ArrayView<uint> ring, int at, int lane, PackedBlock b0, PackedBlock b1, PackedBlock b2, PackedBlock b3, OutputSums sums)
        where T : struct, ICodedLayout
    {
        CodedBlock a = CodedBlock.LoadShared<T>(ring, at, lane);
        sums.A = CodedBlock.Add<T>(a, b0, sums.A);
        sums.B = CodedBlock.Add<T>(a, b1, sums.B);
        sums.C = CodedBlock.Add<T>(a, b2, sums.C);
        sums.D = CodedBlock.Add<T>(a, b3, sums.D);
        return sums;
    }
}
