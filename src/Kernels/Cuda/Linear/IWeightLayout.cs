using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>How a block of 16 outputs and 32 inputs lies in device memory: what the kernels are generic over.</summary>
/// <remarks>
/// Codes of 16 and 8 bits lie in the order in which a warp holds the first operand of mma.sync (m16n8k16 and m16n8k32): 16 contiguous bytes a lane.
/// So a lane loads its part of a tile with one instruction, a warp 512 contiguous bytes, and neither ldmatrix nor a shuffle is needed.
/// </remarks>
internal interface IWeightLayout
{
    /// <summary>Words of a block, scales included.</summary>
    static abstract int BlockWords { get; }

    /// <summary>The values of inputs 4 · quad … 4 · quad + 3 of an output (0..15), as the file format defines them.</summary>
    static abstract Float4 Four(ArrayView<uint> weights, long block, int output, int quad);
}

/// <summary>A layout of integer codes and the scales that make values of them: value = scale · code + minimum.</summary>
internal interface ICodedLayout : IWeightLayout
{
    /// <summary>True where inputs 0..15 and 16..31 have scales of their own.</summary>
    static abstract bool HasHalves { get; }

    /// <summary>True where a value has a minimum.</summary>
    static abstract bool HasMinimum { get; }

    /// <summary>The signed codes of inputs 4 · quad … 4 · quad + 3 of an output.</summary>
    static abstract uint Codes(ArrayView<uint> weights, long block, int output, int quad);

    /// <summary>Words of a block's codes: where its scales begin.</summary>
    static abstract int CodeWords { get; }

    /// <summary>Words of a lane's codes.</summary>
    static abstract int LaneWords { get; }

    /// <summary>True where small integers follow the factors.</summary>
    static abstract bool HasIntegers { get; }

    /// <summary>Outputs of a word of factors.</summary>
    static abstract int WordOutputs { get; }

    /// <summary>A lane's 16 codes, at its own words, as the first operand of mma.m16n8k32.</summary>
    static abstract UInt4 Fragment(ArrayView<uint> codes, int at);

    /// <summary>The same from a block in shared memory.</summary>
    static abstract UInt4 SharedFragment(ArrayView<uint> shared, int block, int lane);

    /// <summary>The scale of an output's half (0 where there is one for all), from the words of its factors and integers.</summary>
    static abstract float Scale(uint factors, uint integers, int output, int half);

    /// <summary>What is added to each value of an output's half.</summary>
    static abstract float Minimum(uint factors, uint integers, int output, int half);

    /// <summary>The word of an output's factors in a block's memory.</summary>
    static abstract uint Factors(ArrayView<uint> weights, long block, int output);

    /// <summary>The word of an output's integers, 0 where there are none.</summary>
    static abstract uint Integers(ArrayView<uint> weights, long block, int output);
}
