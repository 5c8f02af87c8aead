using System.Runtime.InteropServices;
using TpServe.Kernels.Cpu.Emit;
using TpServe.Kernels.Cpu.Neon;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>Up to <see cref="MostRows"/> rows of activations × one panel of weights.</summary>
/// <remarks>
/// Numerics each output of each row is one sequence of operations over the visited blocks in order, whatever the number of rows:
///          symmetric  acc = fma(float(Σ a·u − bias·Σa), ws · as, acc), a, u the integer codes;
///          minimum    acc = fma(float(Σ a·u), ws · as, acc), then acc = fma(wm, ±as · Σa, acc);
///          halves     t = float(s0) · w0, t = fma(float(s1), w1, t), acc = fma(t, as, acc), then both minima where there are any;
///          float      acc = fma(w, x, acc), k ascending; w of 8-bit floats is their product with the scale, rounded once;
///          bf16       acc = fma(w·x of odd k), then of even k; subnormal inputs and results are zero (VDPBF16PS).
///          So all instruction paths agree to the bit.
/// Threads  stateless: any number of threads.
/// </remarks>
internal abstract unsafe class PanelKernel(TileShape shape, CorrectionKind correction)
{
    /// <summary>The most rows of a call.</summary>
    public const int MostRows = 24;

    /// <summary>The most rows × outputs of a call.</summary>
    public const int MostSums = 24 * 16;

    /// <summary>How the rows of a call are cut.</summary>
    public TileShape Shape => shape;

    /// <summary>Computes <paramref name="groups"/> × <paramref name="rows"/> rows.</summary>
    public abstract void Run(int rows, int groups, PanelCall* call);

    /// <summary>What activations must hold for weights of a format.</summary>
    public ActivationLayout Layout(PanelFormat format, ActivationKind kind)
    {
        if (kind != ActivationKind.Int8)
            return new ActivationLayout(kind, 1, CorrectionKind.None, 0, shape);
        return format.HasMinimum
            ? new ActivationLayout(kind, format.Halves, CorrectionKind.Minimum, format.SubtractsMinimum ? -1 : 1, shape)
            : new ActivationLayout(kind, format.Halves, correction, correction == CorrectionKind.None ? 0 : -format.Bias, shape);
    }

    /// <summary>The kernel of a format on a path, and the activations it reads.</summary>
    public static (PanelKernel Kernel, ActivationLayout Layout) For(PanelFormat format, CpuActivations activations, IsaPath isa)
    {
        InstructionFamily? family = InstructionFamily.Of(isa);
        ActivationKind kind = (activations, format.Codes) switch
        {
            (CpuActivations.Float32, _) or (_, CodeLayout.Float32 or CodeLayout.Float16 or CodeLayout.Float8) => ActivationKind.Float32,
            (_, CodeLayout.BFloat16) => family is { HasBFloat16: false } ? ActivationKind.RoundedFloat32 : ActivationKind.BFloat16,
            _ => ActivationKind.Int8,
        };
        PanelKernel kernel = family is not null ? EmittedKernel.Of(family, format, kind) : isa == IsaPath.Neon ? NeonKernel.Of(format, kind) : new PlainKernel(format, kind);
        return (kernel, kernel.Layout(format, kind));
    }
}

/// <summary>How many rows a kernel takes at once.</summary>
/// <param name="Rows">Most rows of a group: those whose sums are at work together.</param>
/// <param name="Groups">Most groups of a tile, which share what is decoded of a block.</param>
internal readonly record struct TileShape(int Rows, int Groups);

/// <summary>The rows of a product, dealt evenly to groups and the groups to tiles.</summary>
/// <remarks>Numerics a row's bits do not depend on the cut.</remarks>
internal readonly struct RowTiles
{
    private readonly int _groups;
    private readonly int _small;
    private readonly int _tall;
    private readonly int _tallTiles;
    private readonly int _mostGroups;

    /// <summary>The tiles of <paramref name="rows"/> rows: the first groups are one row taller where it does not come out even.</summary>
    public RowTiles(int rows, TileShape shape)
    {
        _mostGroups = shape.Groups;
        _groups = (rows + shape.Rows - 1) / shape.Rows;
        _small = _groups == 0 ? 0 : rows / _groups;
        _tall = _groups == 0 ? 0 : rows % _groups;
        _tallTiles = (_tall + _mostGroups - 1) / _mostGroups;
        Count = _tallTiles + ((_groups - _tall + _mostGroups - 1) / _mostGroups);
    }

    /// <summary>Number of tiles.</summary>
    public int Count { get; }

    /// <summary>A tile: its first row, the rows of each of its groups, and how many groups.</summary>
    public (int First, int Rows, int Groups) this[int tile]
    {
        get
        {
            if (tile < _tallTiles)
                return (tile * _mostGroups * (_small + 1), _small + 1, Math.Min(_mostGroups, _tall - (tile * _mostGroups)));
            int group = (tile - _tallTiles) * _mostGroups;
            return ((_tall * (_small + 1)) + (group * _small), _small, Math.Min(_mostGroups, _groups - _tall - group));
        }
    }
}

/// <summary>One tile: R rows of activations, in groups, × one panel. Read by emitted code: the layout is fixed.</summary>
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

    /// <summary>ThreadScratch.BlockBytes for what is decoded of a block, on a cache line.</summary>
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
