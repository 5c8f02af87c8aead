using ILGPU;
using ILGPU.Runtime;

namespace TpServe.Kernels.Cuda.Device;

/// <summary>A block of memory on an ILGPU accelerator.</summary>
internal sealed class DeviceMemory : DeviceBuffer
{
    private readonly MemoryBuffer1D<byte, Stride1D.Dense>? _owned;
    private readonly MemoryBuffer? _foreign;

    /// <summary>Takes a buffer over.</summary>
    public DeviceMemory(MemoryBuffer1D<byte, Stride1D.Dense> buffer)
    {
        _owned = buffer;
        View = buffer.View;
    }

    /// <summary>A window on memory that the accelerator did not allocate (a peer's segment); disposed with this.</summary>
    public DeviceMemory(MemoryBuffer foreign)
    {
        _foreign = foreign;
        View = foreign.AsArrayView<byte>(0, foreign.LengthInBytes);
    }

    /// <inheritdoc/>
    public override long Bytes => View.Length;

    /// <summary>All bytes.</summary>
    public ArrayView<byte> View { get; private set; }

    /// <summary>Where the block lies in the device's address space.</summary>
    public nint Address => _owned?.NativePtr ?? _foreign!.NativePtr;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (!disposing)
            return; // ILGPU frees what nobody disposed with its accelerator
        View = default;
        _owned?.Dispose();
        _foreign?.Dispose();
    }
}
