using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>Where a streaming kernel of 16-bit weights finds its second operand.</summary>
internal interface IHalfInput
{
    /// <summary>The first word of a lane whose operand belongs to a row.</summary>
    static abstract int Start(ProductShape shape, int row, int lane);

    /// <summary>Words from a block's operand to the next block's.</summary>
    static abstract int BlockWords { get; }

    /// <summary>The operands of a block's two k16 steps, so many words behind the lane's own.</summary>
    static abstract UInt4 Load<T>(ArrayView<uint> lane, int offset) where T : struct, IHalfMath;
}

/// <summary>Rows that <see cref="PackedActivations"/> has rounded and laid out.</summary>
internal readonly struct PackedHalves : IHalfInput
{
    /// <inheritdoc/>
    public static int Start(ProductShape shape, int row, int lane) =>
        (row / PackedActivations.TileRows * shape.Blocks * PackedActivations.HalfWords) + (row % PackedActivations.TileRows * 16) + (lane % 4 * 4);

    /// <inheritdoc/>
    public static int BlockWords => PackedActivations.HalfWords;

    /// <inheritdoc/>
    public static UInt4 Load<T>(ArrayView<uint> lane, int offset) where T : struct, IHalfMath => StreamLoads.FourShared(ref lane[offset]);
}

/// <summary>Rows of float32, rounded on the way. Every block is a whole one, and rows begin at multiples of 8 bytes.</summary>
/// <remarks>Numerics the rounding of <see cref="PackedActivations"/>, so the same bits.</remarks>
internal readonly struct FloatRows : IHalfInput
{
    /// <inheritdoc/>
    public static int Start(ProductShape shape, int row, int lane) => (row * shape.StrideX) + (lane % 4 * 2);

    /// <inheritdoc/>
    public static int BlockWords => LinearPlan.BlockInputs;

    /// <inheritdoc/>
    public static UInt4 Load<T>(ArrayView<uint> lane, int offset) where T : struct, IHalfMath
    {
        UInt2 a = StreamLoads.TwoShared(ref lane[offset]), b = StreamLoads.TwoShared(ref lane[offset + 8]);
        UInt2 c = StreamLoads.TwoShared(ref lane[offset + 16]), d = StreamLoads.TwoShared(ref lane[offset + 24]);
        return new UInt4 { A = Round<T>(a), B = Round<T>(b), C = Round<T>(c), D = Round<T>(d) };
    }

    private static uint Round<T>(UInt2 pair) where T : struct, IHalfMath => T.Round(Interop.IntAsFloat(pair.A), Interop.IntAsFloat(pair.B));
}
