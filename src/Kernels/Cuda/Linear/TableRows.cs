using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>Rows of an embedding table out of its packed layout: y = scale · E[token] + 0.</summary>
/// <remarks>
/// Shapes   tokens [rows], the table's rows are tiles of 16, y [rows, inputs].
/// Launch   a thread four inputs of a row, 128 a group.
/// Numerics the exact value of the format, times scale, plus +0; tokens of other ranks give +0.
/// Cost     reads a row's codes in pieces of 4 to 8 bytes, writes 4 · rows · inputs bytes.
/// Oracle   ReferenceBackend.Embed, equal bit for bit.
/// </remarks>
internal static class TableRows
{
    /// <summary>Threads of a group.</summary>
    public const int GroupSize = 128;

    /// <summary>The kernel.</summary>
    public delegate void Launch(
        KernelConfig config, ArrayView<int> tokens, ArrayView<uint> table, ArrayView<float> y, ArrayView<BlockVisit> visits, TableShape shape);

    /// <summary>Compiles the kernel of a layout.</summary>
    public static Launch Load<T>(CudaQueue queue) where T : struct, IWeightLayout =>
        new(queue.Load<ArrayView<int>, ArrayView<uint>, ArrayView<float>, ArrayView<BlockVisit>, TableShape>(Kernel<T>));

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
    internal static void Kernel<T>(ArrayView<int> tokens, ArrayView<uint> table, ArrayView<float> y, ArrayView<BlockVisit> visits, TableShape shape)
        where T : struct, IWeightLayout
    {
        int item = (Grid.IdxX * GroupSize) + Group.IdxX, row = Grid.IdxY;
        if (item >= shape.Blocks * 8)
            return;
        int block = item / 8, quad = item % 8, token = tokens[row * shape.StrideTokens];
        BlockVisit visit = visits[block];
        int input = (quad * 4) - visit.Lead, to = (row * shape.StrideY) + visit.Column + input;
        bool own = token >= shape.FirstRow && token - shape.FirstRow < shape.Outputs;
        Float4 values = default;
        if (own)
        {
            int output = token - shape.FirstRow, tile = output / CudaPackedWeight.TileOutputs;
            values = T.Four(table, (((long)tile * shape.Blocks) + block) * T.BlockWords, output % CudaPackedWeight.TileOutputs, quad);
        }
        Write(y, to, (uint)input < (uint)visit.Count, values.A, shape.Scale);
        Write(y, to + 1, (uint)(input + 1) < (uint)visit.Count, values.B, shape.Scale);
        Write(y, to + 2, (uint)(input + 2) < (uint)visit.Count, values.C, shape.Scale);
        Write(y, to + 3, (uint)(input + 3) < (uint)visit.Count, values.D, shape.Scale);
    }

    private static void Write(ArrayView<float> y, int to, bool inside, float value, float scale)
    {
        if (inside)
            y[to] = DeviceMath.Add(DeviceMath.Multiply(value, scale), 0f);
    }
}

/// <summary>Sizes of one launch of <see cref="TableRows"/>.</summary>
internal struct TableShape
{
    /// <summary>Elements from one token to the next.</summary>
    public int StrideTokens;

    /// <summary>Elements from one row of y to the next.</summary>
    public int StrideY;

    /// <summary>Blocks of 32 inputs of a row.</summary>
    public int Blocks;

    /// <summary>Rows of the table this rank holds.</summary>
    public int Outputs;

    /// <summary>The vocabulary's number of the first of them.</summary>
    public int FirstRow;

    /// <summary>Factor of every value.</summary>
    public float Scale;
}
