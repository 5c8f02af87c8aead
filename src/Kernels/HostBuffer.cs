using System.Runtime.InteropServices;

namespace TpServe.Kernels;

/// <summary>Native host memory, aligned to 64 bytes and zeroed: what the CPU backends compute on.</summary>
/// <remarks>Threads   any thread may read or write; who owns which region is the backend's business.</remarks>
public sealed unsafe class HostBuffer : DeviceBuffer
{
    private const int Alignment = 64;
    private readonly long _bytes;
    private void* _block;
    private readonly object? _owner;
    private byte* _pointer;

    /// <summary>Allocates zeroed memory; large blocks take no physical memory before they are touched.</summary>
    /// <exception cref="OutOfMemoryException">The host has no such block.</exception>
    public HostBuffer(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        // Two cache lines more than asked for: one to align, one because vector kernels may read, never write, past the last element of a row.
        _block = NativeMemory.AllocZeroed((nuint)bytes + 2 * Alignment);
        _pointer = (byte*)(((nuint)_block + Alignment - 1) & ~(nuint)(Alignment - 1));
        _bytes = bytes;
    }

    /// <summary>A window on memory that somebody else owns: <paramref name="owner"/>, which this object keeps alive, or someone that outlives it.</summary>
    public HostBuffer(byte* pointer, long bytes, object? owner = null)
    {
        _owner = owner;
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
        NativeMemory.Free(_block); // null where the memory is somebody else's
        _block = null;
        _pointer = null;
    }

    /// <summary>Frees memory that nobody disposed.</summary>
    ~HostBuffer() => Dispose(false);
}
