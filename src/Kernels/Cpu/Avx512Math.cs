using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>AVX-512 without VNNI: sixteen outputs a vector.</summary>
/// <remarks>Numerics as <see cref="Avx2Math"/>: codes above 127 are split so that VPMADDUBSW never saturates.</remarks>
internal readonly unsafe struct Avx512Math : IBlockMath
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
        Vector512<float> scale0 = Vector512.Load(weights->Scale0), scale1 = Vector512.Load(weights->Scale1);
        Vector512<float> min0 = Vector512.Load(weights->Min0), min1 = Vector512.Load(weights->Min1);
        for (int row = 0; row < rows; row++)
        {
            int* inputs = (int*)(a + (row * 32));
            Vector512<int> sum0 = Dots<TCodes>(weights->Codes, inputs), sum1 = Dots<TCodes>(weights->Codes + 256, inputs + 4);
            Vector512<float> sum = Vector512.Load(acc + (row * 16)), scale = Vector512.Create(scales[row]);
            if (!format.HasMinimum)
            {
                sum0 += Vector512.Create(((int*)first)[row]);
                if (format.Halves == 2)
                    sum1 += Vector512.Create(((int*)second)[row]);
            }
            if (format.Halves == 2)
            {
                Vector512<float> scaled = Vector512.ConvertToSingle(sum0) * scale0;
                scaled = Avx512F.FusedMultiplyAdd(Vector512.ConvertToSingle(sum1), scale1, scaled);
                sum = Avx512F.FusedMultiplyAdd(scaled, scale, sum);
            }
            else
            {
                sum = Avx512F.FusedMultiplyAdd(Vector512.ConvertToSingle(sum0 + sum1), scale0 * scale, sum);
            }
            if (format.HasMinimum)
                sum = Avx512F.FusedMultiplyAdd(min0, Vector512.Create(((float*)first)[row]), sum);
            if (format.HasMinimum && format.Halves == 2)
                sum = Avx512F.FusedMultiplyAdd(min1, Vector512.Create(((float*)second)[row]), sum);
            sum.Store(acc + (row * 16));
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
                float* target = acc + (row * outputs) + lane;
                Vector512<float> sum = Vector512.Load(target);
                for (int k = 0; k < 32; k++)
                    sum = Avx512F.FusedMultiplyAdd(Vector512.Load(values + (k * outputs) + lane), Vector512.Create(a[(row * 32) + k]), sum);
                sum.Store(target);
            }
        }
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void BFloats(byte* codes, byte* a, int rows, float* acc, float* scratch)
    {
        VectorDecode.Widen(CodeLayout.BFloat16, codes, scratch);
        for (int i = 0; i < 1024; i += 16)
            Flush(Vector512.Load(scratch + i)).Store(scratch + i);
        for (int row = 0; row < rows; row++)
        {
            ushort* x = (ushort*)a + (row * 32);
            float* target = acc + (row * 32);
            Vector512<float> low = Vector512.Load(target), high = Vector512.Load(target + 16);
            for (int i = 0; i < 32; i++)
            {
                int k = i ^ 1; // the odd input of a pair comes first
                Vector512<float> factor = Vector512.Create((uint)x[k] << 16).AsSingle();
                low = Flush(Avx512F.FusedMultiplyAdd(Vector512.Load(scratch + (k * 32)), factor, low));
                high = Flush(Avx512F.FusedMultiplyAdd(Vector512.Load(scratch + (k * 32) + 16), factor, high));
            }
            low.Store(target);
            high.Store(target + 16);
        }
    }

    /// <inheritdoc/>
    public static void Merge(float* lower, float* upper, int count)
    {
        for (int i = 0; i < count; i += 16)
            (Vector512.Load(lower + i) + Vector512.Load(upper + i)).Store(lower + i);
    }

    /// <summary>Exact sums over 16 inputs of sixteen outputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Dots<TCodes>(byte* codes, int* inputs)
        where TCodes : struct, ICodeRange
    {
        Vector512<short> ones = Vector512<short>.One;
        Vector512<byte> w0 = Vector512.Load(codes), w1 = Vector512.Load(codes + 64), w2 = Vector512.Load(codes + 128), w3 = Vector512.Load(codes + 192);
        Vector512<sbyte> x0 = Vector512.Create(inputs[0]).AsSByte(), x1 = Vector512.Create(inputs[1]).AsSByte();
        Vector512<sbyte> x2 = Vector512.Create(inputs[2]).AsSByte(), x3 = Vector512.Create(inputs[3]).AsSByte();
        if (TCodes.Largest <= 31)
        {
            // 8 · 31 · 127 = 31,496 still fits 16 bits.
            Vector512<short> sums = Avx512BW.MultiplyAddAdjacent(w0, x0) + Avx512BW.MultiplyAddAdjacent(w1, x1);
            sums += Avx512BW.MultiplyAddAdjacent(w2, x2) + Avx512BW.MultiplyAddAdjacent(w3, x3);
            return Avx512BW.MultiplyAddAdjacent(sums, ones);
        }
        if (TCodes.Largest <= 63)
        {
            Vector512<short> first = Avx512BW.MultiplyAddAdjacent(w0, x0) + Avx512BW.MultiplyAddAdjacent(w1, x1);
            Vector512<short> second = Avx512BW.MultiplyAddAdjacent(w2, x2) + Avx512BW.MultiplyAddAdjacent(w3, x3);
            return Avx512BW.MultiplyAddAdjacent(first, ones) + Avx512BW.MultiplyAddAdjacent(second, ones);
        }
        return Wide(w0, x0) + Wide(w1, x1) + Wide(w2, x2) + Wide(w3, x3);

        static Vector512<int> Wide(Vector512<byte> w, Vector512<sbyte> x) =>
            Avx512BW.MultiplyAddAdjacent(Avx512BW.MultiplyAddAdjacent(w & Vector512.Create((byte)0x80), x), Vector512<short>.One)
            + Avx512BW.MultiplyAddAdjacent(Avx512BW.MultiplyAddAdjacent(w & Vector512.Create((byte)0x7F), x), Vector512<short>.One);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourRows(float* values, int outputs, float* x, float* acc)
    {
        Vector512<float> a = Vector512.Load(acc), b = Vector512.Load(acc + outputs);
        Vector512<float> c = Vector512.Load(acc + (2 * outputs)), d = Vector512.Load(acc + (3 * outputs));
        for (int k = 0; k < 32; k++)
        {
            Vector512<float> weights = Vector512.Load(values + (k * outputs));
            a = Avx512F.FusedMultiplyAdd(weights, Vector512.Create(x[k]), a);
            b = Avx512F.FusedMultiplyAdd(weights, Vector512.Create(x[k + 32]), b);
            c = Avx512F.FusedMultiplyAdd(weights, Vector512.Create(x[k + 64]), c);
            d = Avx512F.FusedMultiplyAdd(weights, Vector512.Create(x[k + 96]), d);
        }
        a.Store(acc);
        b.Store(acc + outputs);
        c.Store(acc + (2 * outputs));
        d.Store(acc + (3 * outputs));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Flush(Vector512<float> value) => Vector512.ConditionalSelect(
        Vector512.LessThan(Vector512.Abs(value), Vector512.Create(1.17549435e-38f)), value & Vector512.Create(-0f), value);
}
