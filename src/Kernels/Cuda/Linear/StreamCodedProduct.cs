using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>y = x · Wᵀ of quantised weights and activations for few rows: the weights stream through integer tensor cores, once for every 32 rows.</summary>
/// <remarks>
/// Shapes   packed: <see cref="PackedActivations"/>; y [pieces · rows, outputs], strided.
/// Launch   as <see cref="StreamProduct"/>.
/// Numerics integer products are exact; <see cref="CodedSums"/> over ascending blocks; segments by <see cref="LinearPlan"/>.
/// Cost     reads the weights' bytes once (<see cref="DeviceLayout"/>), and the packed rows once a group; 4 conversions and 8 float operations a lane,
///          block and row tile: memory bound at few rows.
/// Oracle   exact products of the dequantised operands; <see cref="PlainCodedProduct"/>, equal bit for bit.
/// </remarks>
internal static class StreamCodedProduct
{
    /// <summary>Threads of a group.</summary>
    public const int GroupSize = StreamProduct.GroupSize;

    private const int Warps = GroupSize / 32;

    [DeviceKernel(typeof(CodedLayout<OffsetNibbleCodes, HalfScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<OffsetNibbleCodes, HalfScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<OffsetNibbleCodes, HalfScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, HalfScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, HalfScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, HalfScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, HalfScaleMinimums>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, HalfScaleMinimums>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, HalfScaleMinimums>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, SixBitScaleMinimums>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, SixBitScaleMinimums>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, SixBitScaleMinimums>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScaleMinimums>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScaleMinimums>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScaleMinimums>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SixBitScaleMinimums>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SixBitScaleMinimums>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SixBitScaleMinimums>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, ByteHalfScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, ByteHalfScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, ByteHalfScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, NibbleHalfScaleMinimums>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, NibbleHalfScaleMinimums>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, NibbleHalfScaleMinimums>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, SingleScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, SingleScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, SingleScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, SingleScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, SingleScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, SingleScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, HalfPairScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, HalfPairScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, HalfPairScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<OddWords>, SingleScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<OddWords>, SingleScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<OddWords>, SingleScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ThreeBitsWords>, SingleScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ThreeBitsWords>, SingleScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ThreeBitsWords>, SingleScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, SingleScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, SingleScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, SingleScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, EighthByteHalfScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, EighthByteHalfScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, EighthByteHalfScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, SingleScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, SingleScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, SingleScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, EighthByteHalfScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, EighthByteHalfScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, EighthByteHalfScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SingleScales>), typeof(OneRowTile), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 3)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SingleScales>), typeof(TwoRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 2)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SingleScales>), typeof(FourRowTiles), Uses = "mma.sync", GroupSize = GroupSize, GroupsPerMultiprocessor = 1)]
    internal static void Kernel<T, TRows>(
        ArrayView<uint> packed, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<ProductSegment> segments, ProductShape shape)
        where T : struct, ICodedLayout
        where TRows : struct, IRowTiles
    {
        ArrayView<float> slots = SharedMemory.Allocate<float>(TRows.Slots * TRows.Count * SegmentSums.TileElements);
        ArrayView<float> stack = SharedMemory.Allocate<float>(SegmentSums.StackLevels * TRows.Count * SegmentSums.TileElements);
        int lane = Group.IdxX % 32, warp = Group.IdxX / 32, depth = 0;
        int chunks = StreamProduct.RowChunks(shape.Rows, TRows.Count), firstRow = Grid.IdxX % chunks * TRows.Count * PackedActivations.TileRows;
        PlacedTile tile = ProductShape.Place(shape, Grid.IdxX / chunks, w0, w1, w2, (long)shape.Blocks * T.BlockWords);

        // Row tiles beyond the last repeat it: nobody looks at their sums.
        int tiles = (shape.Rows + PackedActivations.TileRows - 1) / PackedActivations.TileRows, tileWords = shape.Blocks * PackedActivations.CodedWords;
        int first = firstRow / PackedActivations.TileRows, x0 = first * tileWords;
        int x1 = Math.Min(first + 1, tiles - 1) * tileWords, x2 = Math.Min(first + 2, tiles - 1) * tileWords, x3 = Math.Min(first + 3, tiles - 1) * tileWords;
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
                    LaneWeights weights = LaneWeights.At<T>(tile, block, lane);
                    CodedBlock a0 = CodedBlock.Load<T>(weights, 0), a1 = CodedBlock.Load<T>(weights, T.BlockWords);
                    CodedBlock a2 = CodedBlock.Load<T>(weights, 2 * T.BlockWords), a3 = CodedBlock.Load<T>(weights, 3 * T.BlockWords);
                    int x = block * PackedActivations.CodedWords;
                    sum0 = Four<T>(packed, x0 + x, lane, a0, a1, a2, a3, sum0);
                    if (TRows.Count > 1)
                        sum1 = Four<T>(packed, x1 + x, lane, a0, a1, a2, a3, sum1);
                    if (TRows.Count > 2)
                    {
                        sum2 = Four<T>(packed, x2 + x, lane, a0, a1, a2, a3, sum2);
                        sum3 = Four<T>(packed, x3 + x, lane, a0, a1, a2, a3, sum3);
                    }
                }
                for (; block < last; block++)
                {
                    CodedBlock a = CodedBlock.Load<T>(LaneWeights.At<T>(tile, block, lane), 0);
                    int x = block * PackedActivations.CodedWords;
                    sum0 = CodedBlock.Add<T>(a, PackedBlock.Load<T>(LaneRows.At(packed, x0 + x, lane), 0), sum0);
                    if (TRows.Count > 1)
                        sum1 = CodedBlock.Add<T>(a, PackedBlock.Load<T>(LaneRows.At(packed, x1 + x, lane), 0), sum1);
                    if (TRows.Count > 2)
                    {
                        sum2 = CodedBlock.Add<T>(a, PackedBlock.Load<T>(LaneRows.At(packed, x2 + x, lane), 0), sum2);
                        sum3 = CodedBlock.Add<T>(a, PackedBlock.Load<T>(LaneRows.At(packed, x3 + x, lane), 0), sum3);
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

    private static Float4 Four<T>(ArrayView<uint> packed, int x, int lane, CodedBlock a0, CodedBlock a1, CodedBlock a2, CodedBlock a3, Float4 sum)
        where T : struct, ICodedLayout
    {
        LaneRows rows = LaneRows.At(packed, x, lane);
        sum = CodedBlock.Add<T>(a0, PackedBlock.Load<T>(rows, 0), sum);
        sum = CodedBlock.Add<T>(a1, PackedBlock.Load<T>(rows, PackedActivations.CodedWords), sum);
        sum = CodedBlock.Add<T>(a2, PackedBlock.Load<T>(rows, 2 * PackedActivations.CodedWords), sum);
        return CodedBlock.Add<T>(a3, PackedBlock.Load<T>(rows, 3 * PackedActivations.CodedWords), sum);
    }
}
