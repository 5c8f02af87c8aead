using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>AVX2 and FMA: eight outputs a vector.</summary>
/// <remarks>
/// Numerics VPMADDUBSW adds two products in 16 bits and saturates, so codes above 127 are split into their top bit and the rest: each part
///          stays at most 128 · 127 · 2 = 32,512, and the sums are exact.
/// </remarks>
internal readonly unsafe struct Avx2Math : IBlockMath
{
    /// <inheritdoc/>
    public static void Decode(PanelFormat format, byte* unit, int block, DecodedBlock* decoded) => VectorDecode.Block(format, unit, block, decoded);

    /// <inheritdoc/>
    public static void Values(PanelFormat format, DecodedBlock* decoded, float* values) => VectorDecode.Values(format, decoded, values);

    /// <inheritdoc/>
    public static void Widen(CodeLayout layout, byte* codes, float* values) => VectorDecode.Widen(layout, codes, values);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Integers<TCodes>(PanelFormat format, DecodedBlock* weights, byte* a, int rows, float* acc)
        where TCodes : struct, ICodeRange
    {
        float* scales = (float*)(a + (rows * 32));
        byte* first = a + (rows * 36), second = a + (rows * 40);
        for (int row = 0; row < rows; row++)
        {
            int* inputs = (int*)(a + (row * 32));
            for (int lane = 0; lane < 16; lane += 8)
            {
                Vector256<int> sum0 = Dots<TCodes>(weights->Codes + (lane * 4), inputs), sum1 = Dots<TCodes>(weights->Codes + 256 + (lane * 4), inputs + 4);
                float* target = acc + (row * 16) + lane;
                Vector256<float> sum = Vector256.Load(target), scale = Vector256.Create(scales[row]);
                if (!format.HasMinimum)
                {
                    sum0 += Vector256.Create(((int*)first)[row]);
                    if (format.Halves == 2)
                        sum1 += Vector256.Create(((int*)second)[row]);
                }
                if (format.Halves == 2)
                {
                    Vector256<float> scaled = Vector256.ConvertToSingle(sum0) * Vector256.Load(weights->Scale0 + lane);
                    scaled = Fma.MultiplyAdd(Vector256.ConvertToSingle(sum1), Vector256.Load(weights->Scale1 + lane), scaled);
                    sum = Fma.MultiplyAdd(scaled, scale, sum);
                }
                else
                {
                    sum = Fma.MultiplyAdd(Vector256.ConvertToSingle(sum0 + sum1), Vector256.Load(weights->Scale0 + lane) * scale, sum);
                }
                if (format.HasMinimum)
                    sum = Fma.MultiplyAdd(Vector256.Load(weights->Min0 + lane), Vector256.Create(((float*)first)[row]), sum);
                if (format.HasMinimum && format.Halves == 2)
                    sum = Fma.MultiplyAdd(Vector256.Load(weights->Min1 + lane), Vector256.Create(((float*)second)[row]), sum);
                sum.Store(target);
            }
        }
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Floats(float* values, int outputs, float* a, int rows, float* acc)
    {
        for (int lane = 0; lane < outputs; lane += 16)
        {
            int row = 0;
            for (; row + 4 <= rows; row += 4)
                FourRows(values + lane, outputs, a + (row * 32), acc + (row * outputs) + lane);
            for (; row < rows; row++)
            {
                float* x = a + (row * 32), target = acc + (row * outputs) + lane;
                Vector256<float> low = Vector256.Load(target), high = Vector256.Load(target + 8);
                for (int k = 0; k < 32; k++)
                {
                    Vector256<float> factor = Vector256.Create(x[k]);
                    low = Fma.MultiplyAdd(Vector256.Load(values + (k * outputs) + lane), factor, low);
                    high = Fma.MultiplyAdd(Vector256.Load(values + (k * outputs) + lane + 8), factor, high);
                }
                low.Store(target);
                high.Store(target + 8);
            }
        }
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void BFloats(byte* codes, byte* a, int rows, float* acc, float* scratch)
    {
        VectorDecode.Widen(CodeLayout.BFloat16, codes, scratch);
        for (int i = 0; i < 1024; i += 8)
            Flush(Vector256.Load(scratch + i)).Store(scratch + i);
        for (int row = 0; row < rows; row++)
        {
            ushort* x = (ushort*)a + (row * 32);
            for (int lane = 0; lane < 32; lane += 16)
            {
                float* target = acc + (row * 32) + lane;
                Vector256<float> low = Vector256.Load(target), high = Vector256.Load(target + 8);
                for (int i = 0; i < 32; i++)
                {
                    int k = i ^ 1; // the odd input of a pair comes first
                    Vector256<float> factor = Vector256.Create((uint)x[k] << 16).AsSingle();
                    low = Flush(Fma.MultiplyAdd(Vector256.Load(scratch + (k * 32) + lane), factor, low));
                    high = Flush(Fma.MultiplyAdd(Vector256.Load(scratch + (k * 32) + lane + 8), factor, high));
                }
                low.Store(target);
                high.Store(target + 8);
            }
        }
    }

    /// <inheritdoc/>
    public static void Merge(float* lower, float* upper, int count)
    {
        for (int i = 0; i < count; i += 8)
            (Vector256.Load(lower + i) + Vector256.Load(upper + i)).Store(lower + i);
    }

    /// <summary>Exact sums over 16 inputs of eight outputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Dots<TCodes>(byte* codes, int* inputs)
        where TCodes : struct, ICodeRange
    {
        Vector256<short> ones = Vector256<short>.One;
        Vector256<byte> w0 = Vector256.Load(codes), w1 = Vector256.Load(codes + 64), w2 = Vector256.Load(codes + 128), w3 = Vector256.Load(codes + 192);
        Vector256<sbyte> x0 = Vector256.Create(inputs[0]).AsSByte(), x1 = Vector256.Create(inputs[1]).AsSByte();
        Vector256<sbyte> x2 = Vector256.Create(inputs[2]).AsSByte(), x3 = Vector256.Create(inputs[3]).AsSByte();
        if (TCodes.Largest <= 31)
        {
            // 8 · 31 · 127 = 31,496 still fits 16 bits.
            Vector256<short> sums = Avx2.MultiplyAddAdjacent(w0, x0) + Avx2.MultiplyAddAdjacent(w1, x1);
            sums += Avx2.MultiplyAddAdjacent(w2, x2) + Avx2.MultiplyAddAdjacent(w3, x3);
            return Avx2.MultiplyAddAdjacent(sums, ones);
        }
        if (TCodes.Largest <= 63)
        {
            Vector256<short> first = Avx2.MultiplyAddAdjacent(w0, x0) + Avx2.MultiplyAddAdjacent(w1, x1);
            Vector256<short> second = Avx2.MultiplyAddAdjacent(w2, x2) + Avx2.MultiplyAddAdjacent(w3, x3);
            return Avx2.MultiplyAddAdjacent(first, ones) + Avx2.MultiplyAddAdjacent(second, ones);
        }
        return Wide(w0, x0) + Wide(w1, x1) + Wide(w2, x2) + Wide(w3, x3);

        static Vector256<int> Wide(Vector256<byte> w, Vector256<sbyte> x) =>
            Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(w & Vector256.Create((byte)0x80), x), Vector256<short>.One)
            + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(w & Vector256.Create((byte)0x7F), x), Vector256<short>.One);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourRows(float* values, int outputs, float* x, float* acc)
    {
        Vector256<float> a0 = Vector256.Load(acc), a1 = Vector256.Load(acc + 8);
        Vector256<float> b0 = Vector256.Load(acc + outputs), b1 = Vector256.Load(acc + outputs + 8);
        Vector256<float> c0 = Vector256.Load(acc + (2 * outputs)), c1 = Vector256.Load(acc + (2 * outputs) + 8);
        Vector256<float> d0 = Vector256.Load(acc + (3 * outputs)), d1 = Vector256.Load(acc + (3 * outputs) + 8);
        for (int k = 0; k < 32; k++)
        {
            Vector256<float> low = Vector256.Load(values + (k * outputs)), high = Vector256.Load(values + (k * outputs) + 8);
            Vector256<float> factor = Vector256.Create(x[k]);
            a0 = Fma.MultiplyAdd(low, factor, a0);
            a1 = Fma.MultiplyAdd(high, factor, a1);
            factor = Vector256.Create(x[k + 32]);
            b0 = Fma.MultiplyAdd(low, factor, b0);
            b1 = Fma.MultiplyAdd(high, factor, b1);
            factor = Vector256.Create(x[k + 64]);
            c0 = Fma.MultiplyAdd(low, factor, c0);
            c1 = Fma.MultiplyAdd(high, factor, c1);
            factor = Vector256.Create(x[k + 96]);
            d0 = Fma.MultiplyAdd(low, factor, d0);
            d1 = Fma.MultiplyAdd(high, factor, d1);
        }
        a0.Store(acc);
        a1.Store(acc + 8);
        b0.Store(acc + outputs);
        b1.Store(acc + outputs + 8);
        c0.Store(acc + (2 * outputs));
        c1.Store(acc + (2 * outputs) + 8);
        d0.Store(acc + (3 * outputs));
        d1.Store(acc + (3 * outputs) + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Flush(Vector256<float> value) => Vector256.ConditionalSelect(
        Vector256.LessThan(Vector256.Abs(value), Vector256.Create(1.17549435e-38f)), value & Vector256.Create(-0f), value);
}
