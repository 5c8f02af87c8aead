using System.Runtime.InteropServices;
using TpServe.Kernels.Cpu.Emit;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>1..8 rows of activations × one panel of weights.</summary>
/// <remarks>
/// Numerics each output of each row is one sequence of operations over the visited blocks in order, whatever the number of rows:
///          symmetric  acc = fma(float(Σ a·u − bias·Σa), ws · as, acc), a, u the integer codes;
///          minimum    acc = fma(float(Σ a·u), ws · as, acc), then acc = fma(wm, ±as · Σa, acc);
///          halves     t = float(s0) · w0, t = fma(float(s1), w1, t), acc = fma(t, as, acc), then both minima where there are any;
///          float      acc = fma(w, x, acc), k ascending;
///          bf16       acc = fma(w·x of odd k), then of even k; subnormal inputs and results are zero (VDPBF16PS).
///          So all instruction paths agree to the bit.
/// Threads  stateless: any number of threads.
/// </remarks>
internal abstract unsafe class PanelKernel
{
    /// <summary>Most rows of a call.</summary>
    public const int MostRows = 8;

    /// <summary>Computes <paramref name="rows"/> rows.</summary>
    public abstract void Run(int rows, PanelCall* call);
}

/// <summary>Which kernel computes what on which path.</summary>
internal static class PanelKernels
{
    /// <summary>The kernel of a format and activation layout.</summary>
    public static PanelKernel For(PanelFormat panel, ActivationLayout layout, IsaPath isa) => isa switch
    {
        IsaPath.Avx512Vnni when IsEmitted(panel, layout) => EmittedKernel.Of(panel),
        IsaPath.Avx512Vnni or IsaPath.Avx512 => new BlockKernel<Avx512Math>(panel, layout),
        IsaPath.Avx2 => new BlockKernel<Avx2Math>(panel, layout),
        _ => new BlockKernel<ScalarMath>(panel, layout),
    };

    // Exact activations on quantised or bf16 weights, and bf16 products on a CPU without VDPBF16PS, go through the intrinsics.
    private static bool IsEmitted(PanelFormat panel, ActivationLayout layout) => layout.Kind switch
    {
        ActivationKind.Int8 => true,
        ActivationKind.BFloat16 => Isa.HasBFloat16,
        _ => panel.Codes is CodeLayout.Float32 or CodeLayout.Float16,
    };
}

/// <summary>One register tile: R rows of activations × one panel. Read by emitted code: the layout is fixed.</summary>
/// <remarks>
/// A single piece is stored to Output + row · OutputStride; several stay on the stack, piece by piece, each [R, panel outputs].
/// </remarks>
[StructLayout(LayoutKind.Explicit, Size = 96)]
internal unsafe struct PanelCall
{
    /// <summary>The panel.</summary>
    [FieldOffset(0)] public byte* Panel;

    /// <summary>The activation tile: its layout's stream over all visits.</summary>
    [FieldOffset(8)] public byte* Activations;

    /// <summary>Where row 0's outputs go; room for all outputs of a panel.</summary>
    [FieldOffset(16)] public float* Output;

    /// <summary>Bytes from row to row of Output.</summary>
    [FieldOffset(24)] public long OutputStride;

    /// <summary>The leaves.</summary>
    [FieldOffset(32)] public LeafEntry* Leaves;

    /// <summary>How many.</summary>
    [FieldOffset(40)] public long LeafCount;

    /// <summary>Pieces left at the end.</summary>
    [FieldOffset(48)] public long Pieces;

    /// <summary>Room for the merge stack: its greatest depth · R · panel outputs floats, on a cache line.</summary>
    [FieldOffset(56)] public float* Stack;

    /// <summary>ThreadScratch.BlockBytes for decoded scales or a decoded block, on a cache line.</summary>
    [FieldOffset(64)] public byte* Scratch;

    /// <summary>Memory to prefetch meanwhile.</summary>
    [FieldOffset(72)] public byte* Next;

    /// <summary>Cache lines of it per visited block.</summary>
    [FieldOffset(80)] public long LinesPerBlock;
}

/// <summary>One leaf as a kernel walks it. Read by emitted code: the layout is fixed.</summary>
[StructLayout(LayoutKind.Explicit, Size = Size)]
internal struct LeafEntry
{
    /// <summary>Bytes of an entry.</summary>
    public const int Size = 24;

    /// <summary>From the panel's start to the first block's unit.</summary>
    [FieldOffset(0)] public long UnitOffset;

    /// <summary>First block inside that unit.</summary>
    [FieldOffset(8)] public int FirstBlock;

    /// <summary>Blocks visited.</summary>
    [FieldOffset(12)] public int Blocks;

    /// <summary>Merges after the leaf.</summary>
    [FieldOffset(16)] public int Merges;
}
