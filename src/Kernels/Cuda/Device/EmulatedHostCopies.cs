namespace TpServe.Kernels.Cuda.Device;

/// <summary>Ordinary memory and copies at the call, for ILGPU's CPU accelerator, whose kernels have run when their launch returns.</summary>
internal sealed unsafe class EmulatedHostCopies : IHostCopies
{
    private readonly List<HostBuffer> _memory = [];

    /// <inheritdoc/>
    public HostBuffer AllocateHost(long bytes)
    {
        HostBuffer memory = new(bytes);
        _memory.Add(memory);
        return new HostBuffer(memory.Pointer, bytes);
    }

    /// <inheritdoc/>
    public void ToDevice(HostBuffer source, DeviceMemory target, long offset, long bytes) =>
        Buffer.MemoryCopy(source.Pointer, Bytes(target, offset, bytes), bytes, bytes);

    /// <inheritdoc/>
    public void ToHost(DeviceMemory source, long offset, HostBuffer target, long bytes) =>
        Buffer.MemoryCopy(Bytes(source, offset, bytes), target.Pointer, bytes, bytes);

    /// <inheritdoc/>
    public ICopyFence CreateFence(bool sleeping) => new Fence();

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (HostBuffer memory in _memory)
            memory.Dispose();
        _memory.Clear();
    }

    /// <summary>Where bytes of the device lie; the CPU accelerator's memory is the host's.</summary>
    private static byte* Bytes(DeviceMemory memory, long offset, long bytes)
    {
        Require.That(offset >= 0 && offset + bytes <= memory.Bytes, $"{bytes} bytes from {offset} reach beyond a buffer of {memory.Bytes} bytes.");
        return (byte*)memory.Address + offset;
    }

    private sealed class Fence : ICopyFence
    {
        public void Set()
        {
        }

        public void Wait()
        {
        }

        public void Dispose()
        {
        }
    }
}
