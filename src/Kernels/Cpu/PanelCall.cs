using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cpu;

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
