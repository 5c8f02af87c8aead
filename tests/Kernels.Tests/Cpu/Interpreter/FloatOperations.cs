using System.Runtime.CompilerServices;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Floats of vector registers, lane by lane.</summary>
/// <remarks>Cost      optimised at the first call, as <see cref="IntegerOperations"/>.</remarks>
internal static unsafe class FloatOperations
{
    private const uint BFloatControl = SingleArithmetic.DefaultControl | SingleArithmetic.DenormalsAreZero | SingleArithmetic.FlushToZero;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void IntegersToSingles(VectorOperands* o)
    {
        int* source = (int*)o->Source;
        float* result = (float*)o->Result;
        for (int i = 0, count = o->Width / sizeof(float); i < count; i++)
            result[i] = source[i];
    }

    // Exact, and subnormal halves are numbers whatever MXCSR says.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void HalvesToSingles(VectorOperands* o)
    {
        ushort* source = (ushort*)o->Source;
        uint* result = (uint*)o->Result;
        for (int i = 0, count = o->Width / sizeof(float); i < count; i++)
        {
            uint sign = (uint)(source[i] & 0x8000) << 16, fraction = (uint)(source[i] & 0x3FF) << 13;
            bool isNaN = (source[i] & 0x7C00) == 0x7C00 && fraction != 0;
            result[i] = isNaN ? sign | 0x7FC00000 | fraction : BitConverter.SingleToUInt32Bits((float)BitConverter.UInt16BitsToHalf(source[i]));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddSingles(VectorOperands* o)
    {
        for (int i = 0; i < o->Width; i += sizeof(float))
            *(float*)(o->Result + i) = SingleArithmetic.Add(*(float*)(o->First + i), *(float*)(o->Source + i), o->Control);
    }

    public static void SubtractSingles(VectorOperands* o)
    {
        for (int i = 0; i < o->Width; i += sizeof(float))
            *(float*)(o->Result + i) = SingleArithmetic.Subtract(*(float*)(o->First + i), *(float*)(o->Source + i), o->Control);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void MultiplySingles(VectorOperands* o)
    {
        for (int i = 0; i < o->Width; i += sizeof(float))
            *(float*)(o->Result + i) = SingleArithmetic.Multiply(*(float*)(o->First + i), *(float*)(o->Source + i), o->Control);
    }

    public static void MaximumSingles(VectorOperands* o)
    {
        for (int i = 0; i < o->Width; i += sizeof(float))
            *(float*)(o->Result + i) = SingleArithmetic.Maximum(*(float*)(o->First + i), *(float*)(o->Source + i), o->Control);
    }

    public static void MinimumSingles(VectorOperands* o)
    {
        for (int i = 0; i < o->Width; i += sizeof(float))
            *(float*)(o->Result + i) = SingleArithmetic.Minimum(*(float*)(o->First + i), *(float*)(o->Source + i), o->Control);
    }

    // The digits name the operands that are factor, factor and summand: 1 the destination, 2 the first source, 3 the second.
    public static void MultiplyAdd132(VectorOperands* o) => MultiplyAdd(o, o->Old, o->Source, o->First, false);

    public static void MultiplyAdd213(VectorOperands* o) => MultiplyAdd(o, o->First, o->Old, o->Source, false);

    public static void MultiplyAdd231(VectorOperands* o) => MultiplyAdd(o, o->First, o->Source, o->Old, false);

    public static void NegativeMultiplyAdd132(VectorOperands* o) => MultiplyAdd(o, o->Old, o->Source, o->First, true);

    public static void NegativeMultiplyAdd213(VectorOperands* o) => MultiplyAdd(o, o->First, o->Old, o->Source, true);

    public static void NegativeMultiplyAdd231(VectorOperands* o) => MultiplyAdd(o, o->First, o->Source, o->Old, true);

    // acc + odd · odd, then + even · even: each a fused step with subnormal operands and tiny results zero, whatever MXCSR says.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void DotBFloats(VectorOperands* o)
    {
        uint* first = (uint*)o->First, second = (uint*)o->Source;
        float* old = (float*)o->Old, result = (float*)o->Result;
        for (int i = 0, count = o->Width / sizeof(float); i < count; i++)
        {
            float sum = Fused(High(first[i]), High(second[i]), old[i]);
            result[i] = Fused(High(first[i] << 16), High(second[i] << 16), sum);
        }

        static float High(uint pair) => BitConverter.UInt32BitsToSingle(pair & 0xFFFF0000);

        static float Fused(float a, float b, float sum)
        {
            float fused = SingleArithmetic.MultiplyAdd(a, b, sum, BFloatControl);
            return float.IsNaN(fused) ? SingleArithmetic.FirstNaN(a, b, sum) : fused;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MultiplyAdd(VectorOperands* o, byte* factor1, byte* factor2, byte* summand, bool negative)
    {
        float* a = (float*)factor1, b = (float*)factor2, c = (float*)summand, result = (float*)o->Result;
        uint control = o->Control;
        for (int i = 0, count = o->Width / sizeof(float); i < count; i++)
        {
            float fused = SingleArithmetic.MultiplyAdd(negative ? -a[i] : a[i], b[i], c[i], control);
            result[i] = float.IsNaN(fused) ? SingleArithmetic.FirstNaN(a[i], b[i], c[i]) : fused;
        }
    }
}
