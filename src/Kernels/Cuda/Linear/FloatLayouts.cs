using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>binary32: input by input, 16 outputs side by side.</summary>
internal readonly struct Float32Layout : IWeightLayout
{
    /// <inheritdoc/>
    public static int BlockWords => 512;

    /// <inheritdoc/>
    public static Float4 Four(ArrayView<uint> weights, long block, int output, int quad)
    {
        long at = block + (quad * 64) + output;
        return new Float4
        {
            A = Interop.IntAsFloat(weights[at]),
            B = Interop.IntAsFloat(weights[at + 16]),
            C = Interop.IntAsFloat(weights[at + 32]),
            D = Interop.IntAsFloat(weights[at + 48]),
        };
    }
}

/// <summary>16-bit floats: two tiles of 16 outputs and 16 inputs in the order of mma.m16n8k16's first operand.</summary>
/// <remarks>Lane 4g + t holds, for outputs g and g + 8, inputs 2t and 2t + 1 (words 0 and 1) and 2t + 8 and 2t + 9 (words 2 and 3).</remarks>
internal static class HalfTiles
{
    /// <summary>Words of a block: two tiles of 32 lanes of four.</summary>
    public const int BlockWords = 256;

    /// <summary>Where the pair of inputs 2 · pair, 2 · pair + 1 (pair 0..15) of an output lies in a block.</summary>
    public static int Word(int output, int pair) => ((pair >> 3) * 128) + ((((output & 7) * 4) + (pair & 3)) * 4) + ((pair >> 2 & 1) * 2) + (output >> 3);
}

/// <summary>binary16 in tensor-core tiles.</summary>
internal readonly struct Float16Layout : IWeightLayout
{
    /// <inheritdoc/>
    public static int BlockWords => HalfTiles.BlockWords;

    /// <inheritdoc/>
    public static Float4 Four(ArrayView<uint> weights, long block, int output, int quad)
    {
        uint low = weights[block + HalfTiles.Word(output, 2 * quad)], high = weights[block + HalfTiles.Word(output, (2 * quad) + 1)];
        return new Float4 { A = HalfFloats.FromHalf(low), B = HalfFloats.FromHalf(low >> 16), C = HalfFloats.FromHalf(high), D = HalfFloats.FromHalf(high >> 16) };
    }
}

/// <summary>bfloat16 in tensor-core tiles.</summary>
internal readonly struct BFloat16Layout : IWeightLayout
{
    /// <inheritdoc/>
    public static int BlockWords => HalfTiles.BlockWords;

    /// <inheritdoc/>
    public static Float4 Four(ArrayView<uint> weights, long block, int output, int quad)
    {
        uint low = weights[block + HalfTiles.Word(output, 2 * quad)], high = weights[block + HalfTiles.Word(output, (2 * quad) + 1)];
        return new Float4 { A = HalfFloats.FromBFloat(low), B = HalfFloats.FromBFloat(low >> 16), C = HalfFloats.FromBFloat(high), D = HalfFloats.FromBFloat(high >> 16) };
    }
}
