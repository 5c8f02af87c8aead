using ILGPU;

namespace TpServe.Kernels.Cuda;

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
    public static UInt4 Fragment(ArrayView<uint> weights, long block, int lane) => TCodes.Fragment(weights, block, lane);

    /// <inheritdoc/>
    public static UInt4 SharedFragment(ArrayView<uint> shared, int block, int lane) => TCodes.SharedFragment(shared, block, lane);

    /// <inheritdoc/>
    public static float Scale(ArrayView<uint> weights, long block, int output, int half) => TScales.Scale(weights, block + TCodes.Words, output, half);

    /// <inheritdoc/>
    public static float Minimum(ArrayView<uint> weights, long block, int output, int half) => TScales.Minimum(weights, block + TCodes.Words, output, half);

    /// <inheritdoc/>
    public static Float4 Four(ArrayView<uint> weights, long block, int output, int quad)
    {
        uint codes = TCodes.Four(weights, block, output, quad);
        float scale = TScales.Scale(weights, block + TCodes.Words, output, quad >> 2);
        float minimum = TScales.HasMinimum ? TScales.Minimum(weights, block + TCodes.Words, output, quad >> 2) : 0f;
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
