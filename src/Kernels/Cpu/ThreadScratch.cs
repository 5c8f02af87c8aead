using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cpu;

/// <summary>What each thread of a matrix product needs for itself: a decoded block, a merge stack, a tile for ragged panels.</summary>
internal sealed unsafe class ThreadScratch : IDisposable
{
    /// <summary>Bytes of <see cref="Block"/>.</summary>
    public const int BlockBytes = 8192;

    private const int TileBytes = PanelKernel.MostSums * sizeof(float);
    private readonly int _threads;
    private int _sums;
    private byte* _memory;

    /// <summary>Scratch of <paramref name="threads"/> threads, with a merge stack of one sum.</summary>
    public ThreadScratch(int threads)
    {
        _threads = threads;
        Reserve(1);
    }

    private long Stride => BlockBytes + TileBytes + ((long)_sums * TileBytes);

    /// <summary>Makes room for a merge stack of <paramref name="sums"/> tiles; only between jobs.</summary>
    public void Reserve(int sums)
    {
        if (sums <= _sums)
            return;
        NativeMemory.AlignedFree(_memory);
        _sums = sums;
        _memory = (byte*)NativeMemory.AlignedAlloc((nuint)(Stride * _threads), 64);
        NativeMemory.Clear(_memory, (nuint)(Stride * _threads));
    }

    /// <summary>Room for a decoded block or its scales.</summary>
    public byte* Block(int thread) => _memory + (thread * Stride);

    /// <summary>Room for a tile's rows × a panel's outputs.</summary>
    public float* Tile(int thread) => (float*)(Block(thread) + BlockBytes);

    /// <summary>The merge stack.</summary>
    public float* Stack(int thread) => (float*)(Block(thread) + BlockBytes + TileBytes);

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(_memory);
        _memory = null;
        _sums = 0;
    }
}
