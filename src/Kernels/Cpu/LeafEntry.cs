using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cpu;

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
