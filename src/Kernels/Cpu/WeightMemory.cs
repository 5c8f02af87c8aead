using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cpu;

/// <summary>Zeroed memory for packed weights, on 2 MiB pages where the system gives them.</summary>
/// <remarks>
/// Very large matrices have a mapping of their own, the others lie side by side in slabs: a step walks through all of them, and each page of 4 KiB would cost
/// it a look into the page tables. What a slab has left at its end is never touched, so that it takes no memory.
/// Threads  allocate from any; a slab is let go with the last matrix in it.
/// Errors   InsufficientMemoryException where the host has no such block. Whoever allocated it disposes it.
/// </remarks>
internal sealed unsafe class WeightMemory : SafeHandle
{
    private const long SlabBytes = 64L << 20; // lives as long as any matrix in it: so much may outlast the rest while a rank changes its shard
    private const long SlabUpTo = 32L << 20;
    private const long Alignment = 64;
    private static readonly Lock s_gate = new();
    private static HugeMapping? s_slab;
    private static long s_slabUsed;
    private readonly HugeMapping _mapping;
    private readonly bool _shares;

    /// <summary>Allocates <paramref name="bytes"/> zero bytes, aligned to 64, with a cache line behind them that may be read.</summary>
    public WeightMemory(long bytes)
        : base(0, ownsHandle: true)
    {
        Bytes = bytes;
        long taken = (bytes + Alignment - 1 + Alignment) / Alignment * Alignment;
        _shares = taken < SlabUpTo;
        long offset = 0;
        _mapping = _shares ? Share(taken, out offset) : new HugeMapping(taken);
        Pointer = _mapping.Pointer + offset;
        SetHandle((nint)Pointer);
    }

    /// <summary>The first byte.</summary>
    public byte* Pointer { get; }

    /// <summary>Usable bytes.</summary>
    public long Bytes { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        // A mapping is unmapped when all that hold it have released it: its own owner below, and each matrix of a slab.
        if (_shares)
            _mapping.DangerousRelease();
        else
            _mapping.Dispose();
        return true;
    }

    /// <summary>A part of the slab in use, or of a new one: the slab, referred to once more.</summary>
    private static HugeMapping Share(long bytes, out long offset)
    {
        lock (s_gate)
        {
            if (s_slab is null || s_slabUsed + bytes > SlabBytes)
            {
                s_slab?.Dispose(); // full: it lives as long as the matrices in it
                s_slab = new HugeMapping(SlabBytes);
                s_slabUsed = 0;
            }
            bool held = false;
            s_slab.DangerousAddRef(ref held);
            offset = s_slabUsed;
            s_slabUsed += bytes;
            return s_slab;
        }
    }
}
