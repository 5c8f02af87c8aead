using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>A lane's part of a coded block in registers: its codes and the scales of outputs g and g + 8.</summary>
internal struct CodedBlock
{
    /// <summary>The first operand of the products.</summary>
    public UInt4 Codes;

    /// <summary>Scales: output g, half 0; output g + 8, half 0; output g, half 1; output g + 8, half 1.</summary>
    public Float4 Scales;

    /// <summary>Minimums in the same order.</summary>
    public Float4 Minimums;

    /// <summary>Reads a lane's part of a block that lies a constant number of words behind the lane's own.</summary>
    public static CodedBlock Load<T>(LaneWeights lane, int offset) where T : struct, ICodedLayout
    {
        int upper = 8 / T.WordOutputs;
        return Of<T>(
            T.Fragment(lane.Codes, offset), lane.Factors[offset], lane.Factors[offset + upper],
            T.HasIntegers ? lane.Integers[offset] : 0, T.HasIntegers ? lane.Integers[offset + 4] : 0, lane.Output);
    }

    /// <summary>Reads a lane's part of a block in shared memory.</summary>
    public static CodedBlock LoadShared<T>(ArrayView<uint> shared, int block, int lane) where T : struct, ICodedLayout
    {
        int output = lane / 4;
        return Of<T>(
            T.SharedFragment(shared, block, lane), T.Factors(shared, block, output), T.Factors(shared, block, output + 8),
            T.Integers(shared, block, output), T.Integers(shared, block, output + 8), output);
    }

    private static CodedBlock Of<T>(UInt4 codes, uint lower, uint upper, uint lowerIntegers, uint upperIntegers, int output) where T : struct, ICodedLayout
    {
        CodedBlock block = new() { Codes = codes };
        block.Scales.A = T.Scale(lower, lowerIntegers, output, 0);
        block.Scales.B = T.Scale(upper, upperIntegers, output, 0);
        if (T.HasHalves)
        {
            block.Scales.C = T.Scale(lower, lowerIntegers, output, 1);
            block.Scales.D = T.Scale(upper, upperIntegers, output, 1);
        }
        if (T.HasMinimum)
        {
            block.Minimums.A = T.Minimum(lower, lowerIntegers, output, 0);
            block.Minimums.B = T.Minimum(upper, upperIntegers, output, 0);
            if (T.HasHalves)
            {
                block.Minimums.C = T.Minimum(lower, lowerIntegers, output, 1);
                block.Minimums.D = T.Minimum(upper, upperIntegers, output, 1);
            }
        }
        return block;
    }

    /// <summary>A segment's accumulator with this block's products with a packed block of 8 rows.</summary>
    public static Float4 Add<T>(CodedBlock a, PackedBlock b, Float4 acc) where T : struct, ICodedLayout
    {
        Int4 zero = default;
        if (T.HasHalves)
        {
            acc = Products(TensorCores.HalfBytes(new UInt2 { A = a.Codes.A, B = a.Codes.B }, b.Codes.A, zero), a.Scales.A, a.Scales.B, b.Scales, acc);
            acc = Products(TensorCores.HalfBytes(new UInt2 { A = a.Codes.C, B = a.Codes.D }, b.Codes.B, zero), a.Scales.C, a.Scales.D, b.Scales, acc);
        }
        else
        {
            acc = Products(TensorCores.Bytes(a.Codes, b.Codes, zero), a.Scales.A, a.Scales.B, b.Scales, acc);
        }
        if (!T.HasMinimum)
            return acc;
        acc = WithMinimums(a.Minimums.A, a.Minimums.B, b.Sums, acc);
        return T.HasHalves ? WithMinimums(a.Minimums.C, a.Minimums.D, b.UpperSums, acc) : acc;
    }

    private static Float4 Products(Int4 sum, float lower, float upper, UInt2 scales, Float4 acc)
    {
        float even = Interop.IntAsFloat(scales.A), odd = Interop.IntAsFloat(scales.B);
        return new Float4
        {
            A = CodedSums.Add(acc.A, sum.A, lower, even),
            B = CodedSums.Add(acc.B, sum.B, lower, odd),
            C = CodedSums.Add(acc.C, sum.C, upper, even),
            D = CodedSums.Add(acc.D, sum.D, upper, odd),
        };
    }

    private static Float4 WithMinimums(float lower, float upper, UInt2 sums, Float4 acc)
    {
        float even = Interop.IntAsFloat(sums.A), odd = Interop.IntAsFloat(sums.B);
        return new Float4
        {
            A = CodedSums.AddMinimum(acc.A, lower, even),
            B = CodedSums.AddMinimum(acc.B, lower, odd),
            C = CodedSums.AddMinimum(acc.C, upper, even),
            D = CodedSums.AddMinimum(acc.D, upper, odd),
        };
    }
}

/// <summary>What a block of integer products adds to a segment: the one order in which every kernel of coded weights does it.</summary>
/// <remarks>
/// Numerics isum and the codes' sums are exact integers below 2^24. One scale: acc = fma(isum · dw, dx, acc). A scale for each half: the same for inputs
///          0..15, then 16..31. A minimum: then acc = fma(min, dx · Σ codes, acc), for each half again.
/// </remarks>
internal static class CodedSums
{
    /// <summary>acc with the products of one scale.</summary>
    public static float Add(float acc, int sum, float scale, float activationScale) => DeviceMath.Fma(DeviceMath.Multiply(sum, scale), activationScale, acc);

    /// <summary>acc with a minimum.</summary>
    public static float AddMinimum(float acc, float minimum, float activationSum) => DeviceMath.Fma(minimum, activationSum, acc);
}
