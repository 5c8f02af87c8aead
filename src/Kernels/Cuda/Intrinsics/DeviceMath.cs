using ILGPU.IR.Intrinsics;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>Arithmetic whose rounding is part of the contract.</summary>
/// <remarks>
/// Numerics mul and add without a rounding modifier may be contracted to an fma by the driver's compiler, differently in two kernels. Where two kernels
///          must agree to the bit, they use these.
/// </remarks>
public static class DeviceMath
{
    /// <summary>a · b + c, rounded once.</summary>
    [IntrinsicImplementation]
    [Ptx("fma.rn.f32 {0}, {1}, {2}, {3};")]
    public static float Fma(float a, float b, float c) => MathF.FusedMultiplyAdd(a, b, c);

    /// <summary>a · b, never contracted.</summary>
    [IntrinsicImplementation]
    [Ptx("mul.rn.f32 {0}, {1}, {2};")]
    public static float Multiply(float a, float b) => a * b;

    /// <summary>a + b, never contracted.</summary>
    [IntrinsicImplementation]
    [Ptx("add.rn.f32 {0}, {1}, {2};")]
    public static float Add(float a, float b) => a + b;

    /// <summary>a / b, correctly rounded.</summary>
    [IntrinsicImplementation]
    [Ptx("div.rn.f32 {0}, {1}, {2};")]
    public static float Divide(float a, float b) => a / b;

    /// <summary>√a, correctly rounded.</summary>
    [IntrinsicImplementation]
    [Ptx("sqrt.rn.f32 {0}, {1};")]
    public static float Sqrt(float a) => MathF.Sqrt(a);

    /// <summary>2^a within 2 units in the last place; subnormal results become zero.</summary>
    [IntrinsicImplementation]
    [Ptx("ex2.approx.ftz.f32 {0}, {1};")]
    public static float Exp2(float a) => MathF.Pow(2, a);

    /// <summary>The upper 64 bits of a · b.</summary>
    [IntrinsicImplementation]
    [Ptx("mul.hi.u64 {0}, {1}, {2};")]
    public static ulong MultiplyHigh(ulong a, ulong b) => Math.BigMul(a, b, out _);

    /// <summary>c + Σ a_i · b_i over four signed bytes, exact.</summary>
    [IntrinsicImplementation]
    [Ptx("dp4a.s32.s32 {0}, {1}, {2}, {3};")]
    public static int Dot4(int a, int b, int c)
    {
        for (int shift = 0; shift < 32; shift += 8)
            c += (sbyte)(a >> shift) * (sbyte)(b >> shift);
        return c;
    }
}

/// <summary>Bit work on packed bytes.</summary>
internal static class DeviceBits
{
    /// <summary>Four bytes of the eight of high:low, chosen by the low three bits of the selector's four low nibbles; their fourth bits are zero.</summary>
    [IntrinsicImplementation]
    [Ptx("prmt.b32 {0}, {1}, {2}, {3};")]
    public static uint Permute(uint low, uint high, uint selector)
    {
        ulong bytes = low | ((ulong)high << 32);
        uint result = 0;
        for (int i = 0; i < 4; i++)
            result |= (uint)((bytes >> (8 * (int)((selector >> (4 * i)) & 7))) & 0xFF) << (8 * i);
        return result;
    }

    /// <summary>Signed byte <paramref name="index"/> (0..3) of a word.</summary>
    public static int SignedByte(uint word, int index) => (int)(word << (24 - (8 * index))) >> 24;
}
