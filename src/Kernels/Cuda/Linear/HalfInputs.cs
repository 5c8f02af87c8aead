using ILGPU;

namespace TpServe.Kernels.Cuda;

/// <summary>Where a streaming kernel of 16-bit weights finds its second operand.</summary>
internal interface IHalfInput
{
    /// <summary>The first word of a lane whose operand belongs to a row.</summary>
    static abstract int Start(ProductShape shape, int row, int lane);

    /// <summary>A lane's operands of a block's two k16 steps.</summary>
    static abstract UInt4 Load<T>(ArrayView<uint> x, int start, int block) where T : struct, IHalfMath;
}

/// <summary>Rows that <see cref="PackedActivations"/> has rounded and laid out.</summary>
internal readonly struct PackedHalves : IHalfInput
{
    /// <inheritdoc/>
    public static int Start(ProductShape shape, int row, int lane) =>
        (row / PackedActivations.TileRows * shape.Blocks * PackedActivations.HalfWords) + (row % PackedActivations.TileRows * 16) + (lane % 4 * 4);

    /// <inheritdoc/>
    public static UInt4 Load<T>(ArrayView<uint> x, int start, int block) where T : struct, IHalfMath =>
        StreamLoads.FourShared(ref x[start + (block * PackedActivations.HalfWords)]);
}

/// <summary>Rows of float32, rounded on the way. Every block is a whole one, and rows begin at multiples of 8 bytes.</summary>
/// <remarks>Numerics the rounding of <see cref="PackedActivations"/>, so the same bits.</remarks>
internal readonly struct FloatRows : IHalfInput
{
    /// <inheritdoc/>
    public static int Start(ProductShape shape, int row, int lane) => (row * shape.StrideX) + (lane % 4 * 2);

    /// <inheritdoc/>
    public static UInt4 Load<T>(ArrayView<uint> x, int start, int block) where T : struct, IHalfMath
    {
        int at = start + (block * LinearPlan.BlockInputs);
        UInt2 a = StreamLoads.TwoShared(ref x[at]), b = StreamLoads.TwoShared(ref x[at + 8]), c = StreamLoads.TwoShared(ref x[at + 16]), d = StreamLoads.TwoShared(ref x[at + 24]);
        return new UInt4 { A = Round<T>(a), B = Round<T>(b), C = Round<T>(c), D = Round<T>(d) };
    }

    private static uint Round<T>(UInt2 pair) where T : struct, IHalfMath => T.Round(Interop.IntAsFloat(pair.A), Interop.IntAsFloat(pair.B));
}
