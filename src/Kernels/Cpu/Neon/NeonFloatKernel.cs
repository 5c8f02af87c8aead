using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu.Neon;

/// <summary>Float panels × float32 activations: acc = fma(w, x, acc), k ascending.</summary>
/// <remarks>Cost     a block: 2 passes of 16 outputs, with four vectors of sums a row in registers; one group widens weights in registers, several once to scratch.</remarks>
internal sealed unsafe class NeonFloatKernel<TWeights>(PanelFormat format) : NeonKernel(format, ActivationKind.Float32, CorrectionKind.None)
    where TWeights : struct, INeonWeights
{
    /// <inheritdoc/>
    protected override void Accumulate(byte* unit, int block, byte* a, int rows, int groups, float* acc, byte* scratch)
    {
        if (groups == 1 || TWeights.AreSingles)
        {
            NeonProducts<TWeights>.Add(unit, 32, (float*)a, rows, groups, acc);
            return;
        }
        Widen(unit, (float*)scratch);
        NeonProducts<SingleWeights>.Add(scratch, 32, (float*)a, rows, groups, acc);
    }

    [MethodImpl(NeonKernel.Hot)]
    private static void Widen(byte* unit, float* values)
    {
        for (int k4 = 0; k4 < 8; k4++)
        {
            for (int output = 0; output < 32; output += 4)
            {
                float* target = values + (128 * k4) + output;
                TWeights.At(unit, 32, k4, 0, output).Store(target);
                TWeights.At(unit, 32, k4, 1, output).Store(target + 32);
                TWeights.At(unit, 32, k4, 2, output).Store(target + 64);
                TWeights.At(unit, 32, k4, 3, output).Store(target + 96);
            }
        }
    }
}

/// <summary>Quantised panels × float32 activations: weights become float32 in scratch, each rounded once, as the file format defines it.</summary>
internal sealed unsafe class NeonValueKernel<TCodes>(PanelFormat format) : NeonKernel(format, ActivationKind.Float32, CorrectionKind.None)
    where TCodes : struct, INeonCodes
{
    /// <inheritdoc/>
    protected override void BeginUnit(byte* unit, byte* scratch) => NeonScales.BeginUnit(Format, unit, (NeonBlock*)scratch);

    /// <inheritdoc/>
    protected override void Accumulate(byte* unit, int block, byte* a, int rows, int groups, float* acc, byte* scratch)
    {
        NeonBlock* shared = (NeonBlock*)scratch;
        NeonScales.Read(Format, unit, block, shared);
        NeonIntegerKernel<TCodes>.Decode(Codes(unit, block), shared->Codes);
        float* values = (float*)(shared + 1);
        for (int half = 0; half < 2; half++)
        {
            bool isSecond = half == 1 && Format.Halves == 2;
            Values(half, shared, isSecond ? shared->Scale1 : shared->Scale0, isSecond ? shared->Min1 : shared->Min0, values);
        }
        NeonProducts<SingleWeights>.Add((byte*)values, 16, (float*)a, rows, groups, acc);
    }

    // scale · (code − bias), or scale · code ± minimum, where the product is exact. A dword holds four inputs of one output.
    [MethodImpl(NeonKernel.Hot)]
    private void Values(int half, NeonBlock* block, float* scales, float* minima, float* values)
    {
        Vector128<int> bias = Vector128.Create(TCodes.AreSigned ? 0 : Format.Bias);
        Vector128<float> sign = Format.SubtractsMinimum ? Vector128.Create(-0f) : Vector128<float>.Zero;
        bool hasMinimum = Format.HasMinimum, isFloat8 = Format.Codes == CodeLayout.Float8;
        for (int lane = 0; lane < 16; lane += 4)
        {
            Vector128<float> scale = Vector128.Load(scales + lane), minimum = hasMinimum ? Vector128.Load(minima + lane) ^ sign : default;
            for (int k4 = 4 * half; k4 < 4 * half + 4; k4++)
            {
                Vector128<int> four = Vector128.Load((int*)(block->Codes + (64 * k4)) + lane);
                for (int i = 0; i < 4; i++)
                {
                    Vector128<float> code = isFloat8 ? Float8(four << 24) : Vector128.ConvertToSingle(((four << 24) >> 24) - bias);
                    Vector128<float> value = hasMinimum ? AdvSimd.FusedMultiplyAdd(minimum, scale, code) : scale * code;
                    value.Store(values + (16 * ((4 * k4) + i)) + lane);
                    four >>= 8;
                }
            }
        }
    }

    // An E4M3 at the top, shifted down with its sign: all bits stand where binary32 has them, the exponent 120 too low.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Float8(Vector128<int> tops) => ((tops >> 4).AsUInt32() & Vector128.Create(0x87F00000)).AsSingle() * Vector128.Create(1.329227995784916e36f);
}

/// <summary>How four float weights are read.</summary>
internal unsafe interface INeonWeights
{
    /// <summary>True where they are binary32 already.</summary>
    static abstract bool AreSingles { get; }

    /// <summary>Weights of input 4 · k4 + i and outputs output to output + 3 of [inputs, outputs].</summary>
    static abstract Vector128<float> At(byte* weights, int outputs, int k4, int i, int output);
}

/// <summary>binary32.</summary>
internal readonly unsafe struct SingleWeights : INeonWeights
{
    public static bool AreSingles => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> At(byte* weights, int outputs, int k4, int i, int output) => Vector128.Load((float*)weights + (((4 * k4) + i) * outputs) + output);
}

/// <summary>binary16.</summary>
internal readonly unsafe struct HalfWeights : INeonWeights
{
    public static bool AreSingles => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> At(byte* weights, int outputs, int k4, int i, int output) => NeonScales.Widen((short*)weights + (((4 * k4) + i) * outputs) + output);
}

/// <summary>bfloat16, two inputs of an output in a dword.</summary>
internal readonly unsafe struct BFloatWeights : INeonWeights
{
    public static bool AreSingles => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> At(byte* weights, int outputs, int k4, int i, int output)
    {
        Vector128<uint> pairs = Vector128.Load((uint*)weights + (((2 * k4) + (i >> 1)) * outputs) + output);
        return ((i & 1) == 0 ? pairs << 16 : pairs & Vector128.Create(0xFFFF0000)).AsSingle();
    }
}

/// <summary>32 inputs of a panel × groups of rows.</summary>
internal static unsafe class NeonProducts<TWeights>
    where TWeights : struct, INeonWeights
{
    /// <summary>acc [groups · rows, outputs] += x [groups · rows, 32] · weights [32, outputs].</summary>
    public static void Add(byte* weights, int outputs, float* x, int rows, int groups, float* acc)
    {
        for (int group = 0; group < groups; group++, x += 32 * rows, acc += outputs * rows)
        {
            for (int first = 0; first < outputs; first += 16)
            {
                switch (rows)
                {
                    case 1: AddRows<OneRow>(weights, outputs, first, x, acc); break;
                    case 2: AddRows<TwoRows>(weights, outputs, first, x, acc); break;
                    case 3: AddRows<ThreeRows>(weights, outputs, first, x, acc); break;
                    default: AddRows<FourRows>(weights, outputs, first, x, acc); break;
                }
            }
        }
    }

    [MethodImpl(NeonKernel.Hot)]
    private static void AddRows<TRows>(byte* weights, int outputs, int first, float* x, float* acc)
        where TRows : struct, IRowCount
    {
        RowSums s0 = Load<TRows>(acc + first, outputs, 0), s1 = Load<TRows>(acc + first, outputs, 1);
        RowSums s2 = Load<TRows>(acc + first, outputs, 2), s3 = Load<TRows>(acc + first, outputs, 3);
        for (int k4 = 0; k4 < 8; k4++)
        {
            Vector128<float> x0 = Row<TRows>(x, 0, k4), x1 = Row<TRows>(x, 1, k4), x2 = Row<TRows>(x, 2, k4), x3 = Row<TRows>(x, 3, k4);
            AddOne<TRows>(weights, outputs, first, k4, 0, x0, x1, x2, x3, ref s0, ref s1, ref s2, ref s3);
            AddOne<TRows>(weights, outputs, first, k4, 1, x0, x1, x2, x3, ref s0, ref s1, ref s2, ref s3);
            AddOne<TRows>(weights, outputs, first, k4, 2, x0, x1, x2, x3, ref s0, ref s1, ref s2, ref s3);
            AddOne<TRows>(weights, outputs, first, k4, 3, x0, x1, x2, x3, ref s0, ref s1, ref s2, ref s3);
        }
        Store<TRows>(s0, acc + first, outputs, 0);
        Store<TRows>(s1, acc + first, outputs, 1);
        Store<TRows>(s2, acc + first, outputs, 2);
        Store<TRows>(s3, acc + first, outputs, 3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddOne<TRows>(
        byte* weights, int outputs, int first, int k4, [ConstantExpected(Max = (byte)3)] byte lane,
        Vector128<float> x0, Vector128<float> x1, Vector128<float> x2, Vector128<float> x3,
        ref RowSums s0, ref RowSums s1, ref RowSums s2, ref RowSums s3)
        where TRows : struct, IRowCount
    {
        Vector128<float> w0 = TWeights.At(weights, outputs, k4, lane, first), w1 = TWeights.At(weights, outputs, k4, lane, first + 4);
        Vector128<float> w2 = TWeights.At(weights, outputs, k4, lane, first + 8), w3 = TWeights.At(weights, outputs, k4, lane, first + 12);
        s0.V0 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s0.V0, w0, x0, lane);
        s0.V1 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s0.V1, w1, x0, lane);
        s0.V2 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s0.V2, w2, x0, lane);
        s0.V3 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s0.V3, w3, x0, lane);
        if (TRows.Count > 1)
        {
            s1.V0 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s1.V0, w0, x1, lane);
            s1.V1 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s1.V1, w1, x1, lane);
            s1.V2 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s1.V2, w2, x1, lane);
            s1.V3 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s1.V3, w3, x1, lane);
        }
        if (TRows.Count > 2)
        {
            s2.V0 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s2.V0, w0, x2, lane);
            s2.V1 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s2.V1, w1, x2, lane);
            s2.V2 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s2.V2, w2, x2, lane);
            s2.V3 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s2.V3, w3, x2, lane);
        }
        if (TRows.Count > 3)
        {
            s3.V0 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s3.V0, w0, x3, lane);
            s3.V1 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s3.V1, w1, x3, lane);
            s3.V2 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s3.V2, w2, x3, lane);
            s3.V3 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(s3.V3, w3, x3, lane);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Row<TRows>(float* x, int row, int k4)
        where TRows : struct, IRowCount => row < TRows.Count ? Vector128.Load(x + (32 * row) + (4 * k4)) : default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static RowSums Load<TRows>(float* acc, int outputs, int row)
        where TRows : struct, IRowCount
    {
        if (row >= TRows.Count)
            return default;
        acc += outputs * row;
        return new RowSums { V0 = Vector128.Load(acc), V1 = Vector128.Load(acc + 4), V2 = Vector128.Load(acc + 8), V3 = Vector128.Load(acc + 12) };
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<TRows>(RowSums sums, float* acc, int outputs, int row)
        where TRows : struct, IRowCount
    {
        if (row >= TRows.Count)
            return;
        acc += outputs * row;
        sums.V0.Store(acc);
        sums.V1.Store(acc + 4);
        sums.V2.Store(acc + 8);
        sums.V3.Store(acc + 12);
    }

    /// <summary>Sums of a row's sixteen outputs.</summary>
    private struct RowSums
    {
        public Vector128<float> V0, V1, V2, V3;
    }
}
