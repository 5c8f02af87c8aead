using TpServe.Kernels.Cuda.Intrinsics;
using TpServe.Kernels.Cuda.Ops;

namespace TpServe.Kernels.Cuda.Sampling;

/// <summary>e^(v / temperature − largest) in steps of 2^-44, as an integer: sums of such weights have no order.</summary>
/// <param name="temperature">More than 0.</param>
/// <param name="largest">Of v / temperature over the row.</param>
/// <remarks>Numerics the exponential within 4e-7 of its value; what is below 2^-44 weighs nothing, and so does a NaN.</remarks>
internal readonly struct FixedWeights(float temperature, float largest)
{
    private const float One = 1L << 44;

    /// <summary>The weight of a key's value.</summary>
    public ulong Of(ulong key) => Of(Exponentials.Exp(DeviceMath.Add(DeviceMath.Divide(RowKeys.Value(key), temperature), -largest)));

    /// <summary>A weight of at most 1 as an integer.</summary>
    public static ulong Of(float weight) => weight > 0f ? (ulong)DeviceMath.Multiply(weight, One) : 0;

    /// <summary>True where there is something to draw by.</summary>
    public static bool IsFinite(float largest) => largest > float.NegativeInfinity && largest < float.PositiveInfinity;
}
