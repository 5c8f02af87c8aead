using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>y = x · Wᵀ with float32 activations and weights of any format decoded in registers.</summary>
/// <remarks>
/// Shapes   x [rows, inputs], y [pieces · rows, outputs]; row-major, strided.
/// Launch   a thread an output, 128 a group; the grid's second dimension shares the rows, four of them a pass. Any sizes.
/// Numerics inside a segment acc = fma(w, x, acc) over ascending inputs; segments by <see cref="LinearPlan"/>. Rows never change a bit.
/// Cost     per pass the weights once and 2 · 4 · outputs · inputs flops: for proof and for float32 checkpoints, not for speed.
/// Oracle   ReferenceBackend.Linear.
/// </remarks>
internal static class PlainProduct
{
    /// <summary>Threads of a group.</summary>
    public const int GroupSize = 128;

    /// <summary>Rows that a thread computes at once.</summary>
    public const int PassRows = 4;

    /// <summary>The kernel.</summary>
    public delegate void Launch(
        KernelConfig config, ArrayView<float> x, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<BlockVisit> visits, ArrayView<ProductSegment> segments, ProductShape shape);

    /// <summary>Compiles the kernel of a layout.</summary>
    public static Launch Load<T>(CudaQueue queue) where T : struct, IWeightLayout =>
        new(queue.Load<ArrayView<float>, ArrayView<uint>, ArrayView<uint>, ArrayView<uint>, ArrayView<float>, ArrayView<BlockVisit>, ArrayView<ProductSegment>, ProductShape>(Kernel<T>));

    [DeviceKernel(typeof(Float32Layout), GroupSize = GroupSize)]
    [DeviceKernel(typeof(Float16Layout), GroupSize = GroupSize)]
    [DeviceKernel(typeof(BFloat16Layout), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<OffsetNibbleCodes, HalfScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, HalfScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, HalfScaleMinimums>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<NibbleCodes, SixBitScaleMinimums>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, HalfScaleMinimums>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SixBitScaleMinimums>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, ByteHalfScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, NibbleHalfScaleMinimums>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, SingleScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, SingleScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<Float4Words>, HalfPairScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<OddWords>, SingleScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ThreeBitsWords>, SingleScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, SingleScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, EighthByteHalfScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, SingleScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<TableNibbleCodes<ShiftedWords>, EighthByteHalfScales>), GroupSize = GroupSize)]
    [DeviceKernel(typeof(CodedLayout<ByteCodes, SingleScales>), GroupSize = GroupSize)]
    internal static void Kernel<T>(
        ArrayView<float> x, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<BlockVisit> visits, ArrayView<ProductSegment> segments, ProductShape shape)
        where T : struct, IWeightLayout
    {
        ArrayView<float> stack = SharedMemory.Allocate<float>(LinearPlan.MostSums * PassRows * GroupSize); // each thread's own column: no barrier
        int output = (Grid.IdxX * GroupSize) + Group.IdxX;
        if (output >= shape.Tiles * CudaPackedWeight.TileOutputs)
            return;
        PlacedTile tile = ProductShape.Place(shape, output / CudaPackedWeight.TileOutputs, w0, w1, w2, (long)shape.Blocks * T.BlockWords);
        output %= CudaPackedWeight.TileOutputs;
        if (output >= tile.Outputs)
            return;
        for (int row = Grid.IdxY * PassRows; row < shape.Rows; row += Grid.DimY * PassRows)
        {
            // 1. Rows beyond the last repeat it; they are not written.
            int last = shape.Rows - 1, x0 = row * shape.StrideX, x1 = Math.Min(row + 1, last) * shape.StrideX;
            int x2 = Math.Min(row + 2, last) * shape.StrideX, x3 = Math.Min(row + 3, last) * shape.StrideX;
            Float4 top = default;
            int depth = 0;
            for (int s = 0; s < shape.Segments; s++)
            {
                // 2. One segment of four rows.
                ProductSegment segment = segments[s];
                Float4 sum = default;
                for (int block = segment.First; block < segment.First + segment.Blocks; block++)
                {
                    BlockVisit visit = visits[block];
                    long at = tile.First + ((long)block * T.BlockWords);
                    for (int quad = 0; quad < LinearPlan.BlockInputs / 4; quad++)
                    {
                        Float4 w = T.Four(tile.Weights, at, output, quad);
                        int input = (quad * 4) - visit.Lead, column = visit.Column + input;
                        sum = Step(x, sum, w.A, (uint)input < (uint)visit.Count, column, x0, x1, x2, x3);
                        sum = Step(x, sum, w.B, (uint)(input + 1) < (uint)visit.Count, column + 1, x0, x1, x2, x3);
                        sum = Step(x, sum, w.C, (uint)(input + 2) < (uint)visit.Count, column + 2, x0, x1, x2, x3);
                        sum = Step(x, sum, w.D, (uint)(input + 3) < (uint)visit.Count, column + 3, x0, x1, x2, x3);
                    }
                }

                // 3. Push, then merge.
                if (depth > 0)
                    Push(stack, depth - 1, top);
                top = sum;
                depth++;
                for (int merge = 0; merge < segment.Merges; merge++)
                {
                    depth--;
                    top = Float4.Add(Pop(stack, depth - 1), top);
                }
            }

            // 4. What is left are the pieces.
            for (int piece = 0; piece < depth; piece++)
            {
                Float4 sum = piece == depth - 1 ? top : Pop(stack, piece);
                int to = (((piece * shape.Rows) + row) * shape.StrideY) + tile.Column + output;
                y[to] = sum.A;
                if (row + 1 < shape.Rows)
                    y[to + shape.StrideY] = sum.B;
                if (row + 2 < shape.Rows)
                    y[to + (2 * shape.StrideY)] = sum.C;
                if (row + 3 < shape.Rows)
                    y[to + (3 * shape.StrideY)] = sum.D;
            }
        }
    }

    private static Float4 Step(ArrayView<float> x, Float4 sum, float w, bool inside, int column, int x0, int x1, int x2, int x3)
    {
        if (inside)
        {
            sum.A = DeviceMath.Fma(w, x[x0 + column], sum.A);
            sum.B = DeviceMath.Fma(w, x[x1 + column], sum.B);
            sum.C = DeviceMath.Fma(w, x[x2 + column], sum.C);
            sum.D = DeviceMath.Fma(w, x[x3 + column], sum.D);
        }
        return sum;
    }

    private static void Push(ArrayView<float> stack, int level, Float4 sum)
    {
        int at = (level * PassRows * GroupSize) + Group.IdxX;
        stack[at] = sum.A;
        stack[at + GroupSize] = sum.B;
        stack[at + (2 * GroupSize)] = sum.C;
        stack[at + (3 * GroupSize)] = sum.D;
    }

    private static Float4 Pop(ArrayView<float> stack, int level)
    {
        int at = (level * PassRows * GroupSize) + Group.IdxX;
        return new Float4 { A = stack[at], B = stack[at + GroupSize], C = stack[at + (2 * GroupSize)], D = stack[at + (3 * GroupSize)] };
    }
}
