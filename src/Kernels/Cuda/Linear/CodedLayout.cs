using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>A block of integer codes followed by its scales.</summary>
internal readonly struct CodedLayout<TCodes, TScales> : ICodedLayout
    where TCodes : struct, ICodes
    where TScales : struct, IScales
{
    /// <inheritdoc/>
    public static int BlockWords => TCodes.Words + TScales.Words;

    /// <inheritdoc/>
    public static bool HasHalves => TScales.HasHalves;

    /// <inheritdoc/>
    public static bool HasMinimum => TScales.HasMinimum;

    /// <inheritdoc/>
    public static uint Codes(ArrayView<uint> weights, long block, int output, int quad) => TCodes.Four(weights, block, output, quad);

    /// <inheritdoc/>
    public static UInt4 Fragment(ArrayView<uint> codes, int at) => TCodes.Fragment(codes, at);

    /// <inheritdoc/>
    public static UInt4 SharedFragment(ArrayView<uint> shared, int block, int lane) => TCodes.SharedFragment(shared, block, lane);

    /// <inheritdoc/>
    public static int CodeWords => TCodes.Words;

    /// <inheritdoc/>
    public static int LaneWords => TCodes.LaneWords;

    /// <inheritdoc/>
    public static bool HasIntegers => TScales.HasIntegers;

    /// <inheritdoc/>
    public static int WordOutputs => TScales.WordOutputs;

    /// <inheritdoc/>
    public static float Scale(uint factors, uint integers, int output, int half) => TScales.Scale(factors, integers, output, half);

    /// <inheritdoc/>
    public static float Minimum(uint factors, uint integers, int output, int half) => TScales.Minimum(factors, integers, output, half);

    /// <inheritdoc/>
    public static uint Factors(ArrayView<uint> weights, long block, int output) => weights[block + TCodes.Words + (output / TScales.WordOutputs)];

    /// <inheritdoc/>
    public static uint Integers(ArrayView<uint> weights, long block, int output) =>
        TScales.HasIntegers ? weights[block + TCodes.Words + CudaPackedWeight.TileOutputs + (output / 2)] : 0;

    /// <inheritdoc/>
    public static Float4 Four(ArrayView<uint> weights, long block, int output, int quad)
    {
        uint codes = TCodes.Four(weights, block, output, quad), factors = Factors(weights, block, output), integers = Integers(weights, block, output);
        float scale = TScales.Scale(factors, integers, output, quad >> 2);
        float minimum = TScales.HasMinimum ? TScales.Minimum(factors, integers, output, quad >> 2) : 0f;
        return new Float4
        {
            A = Value(codes, 0, scale, minimum),
            B = Value(codes, 1, scale, minimum),
            C = Value(codes, 2, scale, minimum),
            D = Value(codes, 3, scale, minimum),
        };
    }

    // scale · code has at most 22 bits wherever there is a minimum, so the fused operation rounds as the file's definition does.
    private static float Value(uint codes, int index, float scale, float minimum)
    {
        float code = DeviceBits.SignedByte(codes, index);
        return TScales.HasMinimum ? DeviceMath.Fma(scale, code, minimum) : DeviceMath.Multiply(scale, code);
    }
}
