using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>y = x · Wᵀ with quantised weights and activations by dp4a: what the emulated device runs, and the check of the tensor-core kernels.</summary>
/// <remarks>
/// Shapes   packed: <see cref="PackedActivations"/>; y [pieces · rows, outputs], strided.
/// Launch   a thread an output, 128 a group; the grid's second dimension shares the rows.
/// Numerics <see cref="CodedSums"/> over ascending blocks; segments by <see cref="LinearPlan"/>. The bits of <see cref="StreamCodedProduct"/> and
///          <see cref="TiledCodedProduct"/>.
/// Cost     the weights once a row.
/// Oracle   exact products of the dequantised operands.
/// </remarks>
internal static class PlainCodedProduct
{
    /// <summary>Threads of a group.</summary>
    public const int GroupSize = 128;

    [DeviceKernel(typeof(CodedLayout<OffsetNibbleCodes, HalfScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, HalfScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, HalfScaleMinimums>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, SixBitScaleMinimums>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScaleMinimums>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SixBitScaleMinimums>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, ByteHalfScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, NibbleHalfScaleMinimums>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, SingleScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, SingleScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, HalfPairScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<OddWords>, SingleScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ThreeBitsWords>, SingleScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, SingleScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, EighthByteHalfScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, SingleScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, EighthByteHalfScales>), Uses = "dp4a", GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SingleScales>), Uses = "dp4a", GroupSize = GroupSize)]
    internal static void Kernel<T>(
        ArrayView<uint> packed, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<ProductSegment> segments, ProductShape shape)
        where T : struct, ICodedLayout
    {
        ArrayView<float> stack = SharedMemory.Allocate<float>(LinearPlan.MostSums * GroupSize); // each thread's own column: no barrier
        int output = (Grid.IdxX * GroupSize) + Group.IdxX;
        if (output >= shape.Tiles * CudaPackedWeight.TileOutputs)
            return;
        PlacedTile tile = ProductShape.Place(shape, output / CudaPackedWeight.TileOutputs, w0, w1, w2, (long)shape.Blocks * T.BlockWords);
        output %= CudaPackedWeight.TileOutputs;
        if (output >= tile.Outputs)
            return;
        for (int row = Grid.IdxY; row < shape.Rows; row += Grid.DimY)
        {
            int tileAt = row / PackedActivations.TileRows * shape.Blocks, at = row % PackedActivations.TileRows, depth = 0;
            float top = 0f;
            for (int s = 0; s < shape.Segments; s++)
            {
                // 1. One segment.
                ProductSegment segment = segments[s];
                float sum = 0f;
                for (int block = segment.First; block < segment.First + segment.Blocks; block++)
                    sum = Add<T>(sum, tile.Weights, tile.First + ((long)block * T.BlockWords), output, packed, (tileAt + block) * PackedActivations.CodedWords, at);

                // 2. Push, then merge.
                if (depth > 0)
                    stack[((depth - 1) * GroupSize) + Group.IdxX] = top;
                top = sum;
                depth++;
                for (int merge = 0; merge < segment.Merges; merge++)
                {
                    depth--;
                    top = DeviceMath.Add(stack[((depth - 1) * GroupSize) + Group.IdxX], top);
                }
            }

            // 3. What is left are the pieces.
            for (int piece = 0; piece < depth; piece++)
                y[(((piece * shape.Rows) + row) * shape.StrideY) + tile.Column + output] = piece == depth - 1 ? top : stack[(piece * GroupSize) + Group.IdxX];
        }
    }

    private static float Add<T>(float acc, ArrayView<uint> weights, long block, int output, ArrayView<uint> packed, int x, int row) where T : struct, ICodedLayout
    {
        int sum0 = 0, sum1 = 0;
        for (int quad = 0; quad < 4; quad++)
        {
            int words = x + (((row * 4) + quad) * 2);
            sum0 = DeviceMath.Dot4((int)T.Codes(weights, block, output, quad), (int)packed[words], sum0);
            sum1 = DeviceMath.Dot4((int)T.Codes(weights, block, output, quad + 4), (int)packed[words + 1], sum1);
        }
        uint factors = T.Factors(weights, block, output), integers = T.Integers(weights, block, output);
        float scale = Interop.IntAsFloat(packed[x + PackedActivations.ScalesAt + row]);
        if (!T.HasHalves)
        {
            acc = CodedSums.Add(acc, sum0 + sum1, T.Scale(factors, integers, output, 0), scale);
            return T.HasMinimum ? CodedSums.AddMinimum(acc, T.Minimum(factors, integers, output, 0), Interop.IntAsFloat(packed[x + PackedActivations.SumsAt + row])) : acc;
        }
        acc = CodedSums.Add(acc, sum0, T.Scale(factors, integers, output, 0), scale);
        acc = CodedSums.Add(acc, sum1, T.Scale(factors, integers, output, 1), scale);
        if (!T.HasMinimum)
            return acc;
        int halves = x + PackedActivations.HalfSumsAt + row;
        acc = CodedSums.AddMinimum(acc, T.Minimum(factors, integers, output, 0), Interop.IntAsFloat(packed[halves]));
        return CodedSums.AddMinimum(acc, T.Minimum(factors, integers, output, 1), Interop.IntAsFloat(packed[halves + PackedActivations.TileRows]));
    }
}
