using System.Runtime.CompilerServices;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu.Neon;

/// <summary>Panel kernels in intrinsics for arm64 with dot products: four rows of sums in registers, what is decoded of a block shared by all groups.</summary>
/// <remarks>
/// Numerics <see cref="PanelKernel"/>, bit for bit: multiply-adds are fused, integer sums exact. The runtime leaves FPCR as it is, so subnormals are kept
///          and nothing is trapped; where bf16 flushes, <see cref="NeonBFloatKernel"/> does.
/// Cost     one group: codes go from the panel through registers into dot products. Several: decoded once to scratch, in the first-level cache.
///          The next panel is not prefetched: .NET has no such instruction for arm64.
/// </remarks>
internal abstract unsafe class NeonKernel(PanelFormat format, ActivationKind kind, CorrectionKind correction)
    : BlockwiseKernel(format, kind, new TileShape(Rows, MostSums / (Rows * format.PanelOutputs)), correction)
{
    /// <summary>Inner loops: optimised at the first call, and never part of their caller, where the inliner's budget ends before their last part.</summary>
    public const MethodImplOptions Hot = MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining;

    /// <summary>Rows of a group: 4 rows × 4 vectors are half of the registers.</summary>
    protected const int Rows = 4;

    /// <summary>Bytes used of PanelCall.Scratch: a decoded block with its values, or the values of a float one.</summary>
    public static int ScratchBytes => Math.Max(sizeof(NeonBlock) + (32 * 16 * sizeof(float)), 32 * 32 * sizeof(float));

    /// <summary>The kernel of a format.</summary>
    public static NeonKernel Of(PanelFormat format, ActivationKind kind) => (kind, format.Codes) switch
    {
        (ActivationKind.BFloat16, _) => new NeonBFloatKernel(format),
        (_, CodeLayout.Float32) => new NeonFloatKernel<SingleWeights>(format),
        (_, CodeLayout.Float16) => new NeonFloatKernel<HalfWeights>(format),
        (_, CodeLayout.BFloat16) => new NeonFloatKernel<BFloatWeights>(format),
        (_, CodeLayout.Bytes) => Quantised<ByteCodes>(format, kind),
        (_, CodeLayout.Float8) => new NeonValueKernel<Float8Codes>(format),
        (_, CodeLayout.Nibbles) => Quantised<NibbleCodes>(format, kind),
        (_, CodeLayout.NibbleTable) when format.Table == NibbleTables.NonLinear4 => Quantised<NibbleTableCodes<NonLinear4Table>>(format, kind),
        (_, CodeLayout.NibbleTable) when format.Table == NibbleTables.Float4 => Quantised<NibbleTableCodes<Float4Table>>(format, kind),
        (_, CodeLayout.NibbleTable) when format.Table == NibbleTables.TwoBits => Quantised<NibbleTableCodes<TwoBitsTable>>(format, kind),
        (_, CodeLayout.NibbleTable) when format.Table == NibbleTables.ThreeBits => Quantised<NibbleTableCodes<ThreeBitsTable>>(format, kind),
        (_, CodeLayout.NibbleTable) when format.Table == NibbleTables.Odd => Quantised<NibbleTableCodes<OddTable>>(format, kind),
        (_, CodeLayout.NibbleTable) when format.Table == NibbleTables.Shifted => Quantised<NibbleTableCodes<ShiftedTable>>(format, kind),
        (_, CodeLayout.NibblesHigh1) => Quantised<NibbleHigh1Codes>(format, kind),
        (_, CodeLayout.NibblesHigh2) => Quantised<NibbleHigh2Codes>(format, kind),
        (_, CodeLayout.Pairs) => Quantised<PairCodes>(format, kind),
        (_, CodeLayout.PairsHigh1) => Quantised<PairHigh1Codes>(format, kind),
        _ => throw new ArgumentOutOfRangeException(nameof(format), format.Format, $"no kernel for {kind} activations"),
    };

    private static NeonKernel Quantised<TCodes>(PanelFormat format, ActivationKind kind)
        where TCodes : struct, INeonCodes =>
        kind == ActivationKind.Int8 ? new NeonIntegerKernel<TCodes>(format) : new NeonValueKernel<TCodes>(format);
}

/// <summary>Rows of a group, known where code is compiled: registers of rows that are not there are not used.</summary>
internal interface IRowCount
{
    /// <summary>1 to 4.</summary>
    static abstract int Count { get; }
}

/// <summary>One row.</summary>
internal readonly struct OneRow : IRowCount
{
    public static int Count => 1;
}

/// <summary>Two rows.</summary>
internal readonly struct TwoRows : IRowCount
{
    public static int Count => 2;
}

/// <summary>Three rows.</summary>
internal readonly struct ThreeRows : IRowCount
{
    public static int Count => 3;
}

/// <summary>Four rows.</summary>
internal readonly struct FourRows : IRowCount
{
    public static int Count => 4;
}
