using System.Runtime.InteropServices;

namespace TpServe.Kernels;

/// <summary>Native host memory, aligned to 64 bytes and zeroed: what the CPU backends compute on.</summary>
/// <remarks>Threads   any thread may read or write; who owns which region is the backend's business.</remarks>
public sealed unsafe class HostBuffer : DeviceBuffer
{
    private const int Alignment = 64;
    private readonly long _bytes;
    private readonly bool _owned;
    private byte* _pointer;

    /// <summary>Allocates and zeroes.</summary>
    /// <exception cref="OutOfMemoryException">The host has no such block.</exception>
    public HostBuffer(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        // One cache line more than asked for: vector kernels may read, never write, past the last element of a row.
        _pointer = (byte*)NativeMemory.AlignedAlloc((nuint)(bytes + Alignment), Alignment);
        NativeMemory.Clear(_pointer, (nuint)(bytes + Alignment));
        _bytes = bytes;
        _owned = true;
    }

    /// <summary>A window on memory that somebody else owns and that outlives this object (a mapped segment).</summary>
    public HostBuffer(byte* pointer, long bytes)
    {
        _pointer = pointer;
        _bytes = bytes;
    }

    /// <inheritdoc/>
    public override long Bytes => _bytes;

    /// <summary>The first byte.</summary>
    /// <exception cref="ObjectDisposedException">The buffer was disposed.</exception>
    public byte* Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(_pointer is null, this);
            return _pointer;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_owned && _pointer is not null)
            NativeMemory.AlignedFree(_pointer);
        _pointer = null;
    }

    /// <summary>Frees memory that nobody disposed.</summary>
    ~HostBuffer() => Dispose(false);
}
