using System.Runtime.CompilerServices;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>binary32 arithmetic as vector instructions do it under a given MXCSR, rounded to nearest even.</summary>
/// <remarks>
/// Numerics DAZ: a subnormal operand counts as zero of its sign. FTZ: a result that is tiny after rounding to 24 bits with unbounded exponent
///          becomes zero of its sign; so exact results in [2^-126 − 2^-150, 2^-126 − 2^-151) vanish although the subnormal grid has 2^-126 for them.
///          NaN: the first NaN operand, quieted; without one, the default NaN 0xFFC00000.
/// Source   Intel SDM volume 1, 4.9.1.5 (tininess is detected after rounding) and 10.2.3 (DAZ, FTZ).
/// Oracle   the instructions themselves, where the machine has them.
/// </remarks>
internal static class SingleArithmetic
{
    /// <summary>MXCSR's bit for subnormal operands.</summary>
    public const uint DenormalsAreZero = 0x40;

    /// <summary>MXCSR's bit for tiny results.</summary>
    public const uint FlushToZero = 0x8000;

    /// <summary>MXCSR as processes start with it: all exceptions masked, nearest even.</summary>
    public const uint DefaultControl = 0x1F80;

    private const float SmallestNormal = 1.17549435e-38f;
    private const float Scale = 18446744073709551616f; // 2^64

    /// <summary>a · b + c, rounded once. A NaN result is any NaN: <see cref="FirstNaN"/> has its bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float MultiplyAdd(float a, float b, float c, uint control)
    {
        if ((control & DenormalsAreZero) != 0)
            (a, b, c) = (NormalOrZero(a), NormalOrZero(b), NormalOrZero(c));
        float result = MathF.FusedMultiplyAdd(a, b, c);
        return (control & FlushToZero) != 0 && IsTiny(a, b, c, result) ? Zero(result) : result;
    }

    /// <summary>a + b.</summary>
    public static float Add(float a, float b, uint control)
    {
        (a, b) = (Input(a, control), Input(b, control));
        float sum = a + b;
        if (float.IsNaN(sum))
            return FirstNaN(a, b);
        // A sum of two numbers that comes out below 2^-126 is exact, so a subnormal is all there is to flush.
        return (control & FlushToZero) != 0 ? NormalOrZero(sum) : sum;
    }

    /// <summary>a − b.</summary>
    public static float Subtract(float a, float b, uint control) => float.IsNaN(b) ? FirstNaN(a, b) : Add(a, -b, control);

    /// <summary>a · b.</summary>
    public static float Multiply(float a, float b, uint control)
    {
        (a, b) = (Input(a, control), Input(b, control));
        float product = a * b;
        if (float.IsNaN(product))
            return FirstNaN(a, b);
        return (control & FlushToZero) != 0 && IsTiny(a, b, 0f, product) ? Zero(product) : product;
    }

    /// <summary>The larger; b where they are equal or one is NaN.</summary>
    public static float Maximum(float a, float b, uint control)
    {
        (a, b) = (Input(a, control), Input(b, control));
        return a > b ? a : b;
    }

    /// <summary>The smaller; b where they are equal or one is NaN.</summary>
    public static float Minimum(float a, float b, uint control)
    {
        (a, b) = (Input(a, control), Input(b, control));
        return a < b ? a : b;
    }

    /// <summary>What an instruction writes where its result is NaN; factors come before the summand.</summary>
    public static float FirstNaN(float first, float second, float third = 0f)
    {
        float nan = float.IsNaN(first) ? first : float.IsNaN(second) ? second : third;
        return BitConverter.UInt32BitsToSingle(float.IsNaN(nan) ? BitConverter.SingleToUInt32Bits(nan) | 0x00400000u : 0xFFC00000u);
    }

    private static float Input(float value, uint control) => (control & DenormalsAreZero) != 0 ? NormalOrZero(value) : value;

    private static float NormalOrZero(float value) => float.IsSubnormal(value) ? Zero(value) : value;

    private static float Zero(float sign) => MathF.CopySign(0f, sign);

    // Where the rounded result is 2^-126, the same sum times 2^64 shows what 24 bits without a least exponent would be. Nothing overflows:
    // with |a · b + c| about 2^-126, |c| and |a · b| are below 2^-76, or their difference would be a multiple of larger last bits; and the
    // smaller factor of such a product is below 2^-38. An exact zero counts as tiny: flushing leaves it and its sign.
    private static bool IsTiny(float a, float b, float c, float result)
    {
        if (MathF.Abs(result) != SmallestNormal)
            return MathF.Abs(result) < SmallestNormal;
        float unbounded = MathF.Abs(a) < MathF.Abs(b) ? MathF.FusedMultiplyAdd(a * Scale, b, c * Scale) : MathF.FusedMultiplyAdd(a, b * Scale, c * Scale);
        return MathF.Abs(unbounded) < SmallestNormal * Scale;
    }
}
