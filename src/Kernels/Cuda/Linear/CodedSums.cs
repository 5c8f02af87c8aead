using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

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
