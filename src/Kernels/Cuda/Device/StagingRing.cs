namespace TpServe.Kernels.Cuda.Device;

/// <summary>Slots of page-locked memory used in turn, so that the host fills one while the device copies from another.</summary>
/// <remarks>
/// A slot is waited for only where the device has not yet copied what it held a whole turn ago.
/// Threads   the rank's thread.
/// </remarks>
/// <param name="copies">Makes the memory and the copies.</param>
/// <param name="slots">Number of slots.</param>
/// <param name="slotBytes">Bytes of a slot.</param>
/// <param name="sleeping">Waiting leaves the processor to others: for whole weights, not for a step.</param>
internal sealed unsafe class StagingRing(IHostCopies copies, int slots, int slotBytes, bool sleeping) : IDisposable
{
    private readonly (HostBuffer Memory, ICopyFence Fence)?[] _slots = new (HostBuffer, ICopyFence)?[slots];
    private int _next;

    /// <summary>Bytes of a slot.</summary>
    public int SlotBytes => slotBytes;

    /// <summary>Number of slots.</summary>
    public int Slots => slots;

    /// <summary>The memory of the next slot, once it is free. <see cref="Send"/> or <see cref="Receive"/> uses it and moves on.</summary>
    public Span<byte> Take()
    {
        (HostBuffer memory, ICopyFence fence) = Slot(_next);
        fence.Wait();
        return new Span<byte>(memory.Pointer, slotBytes);
    }

    /// <summary>Enqueues a copy of the taken slot's first bytes to the device.</summary>
    public void Send(DeviceMemory target, long offset, int bytes)
    {
        (HostBuffer memory, ICopyFence fence) = Slot(_next);
        copies.ToDevice(memory, target, offset, bytes);
        fence.Set();
        _next = (_next + 1) % slots;
    }

    /// <summary>Enqueues a copy to the taken slot's first bytes; <see cref="Received"/> waits for it.</summary>
    /// <returns>The slot's number.</returns>
    public int Receive(DeviceMemory source, long offset, int bytes)
    {
        int slot = _next;
        (HostBuffer memory, ICopyFence fence) = Slot(slot);
        copies.ToHost(source, offset, memory, bytes);
        fence.Set();
        _next = (_next + 1) % slots;
        return slot;
    }

    /// <summary>The bytes a slot received, once they are there; valid until the slot is taken again.</summary>
    public ReadOnlySpan<byte> Received(int slot, int bytes)
    {
        (HostBuffer memory, ICopyFence fence) = Slot(slot);
        fence.Wait();
        return new ReadOnlySpan<byte>(memory.Pointer, bytes);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        for (int i = 0; i < slots; i++)
        {
            _slots[i]?.Fence.Dispose();
            _slots[i] = null;
        }
    }

    private (HostBuffer Memory, ICopyFence Fence) Slot(int index) => _slots[index] ??= (copies.AllocateHost(slotBytes), copies.CreateFence(sleeping));
}
