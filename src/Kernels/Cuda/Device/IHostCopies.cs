namespace TpServe.Kernels.Cuda.Device;

/// <summary>Copies between host memory of its own kind and the device, in order with the kernels of the backend's stream.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
internal interface IHostCopies : IDisposable
{
    /// <summary>Host memory the device copies from and to by itself, zeroed; valid until this is disposed, whoever disposes the buffer.</summary>
    HostBuffer AllocateHost(long bytes);

    /// <summary>Enqueues a copy of the buffer's first bytes; they must not change before a fence set afterwards was waited for.</summary>
    void ToDevice(HostBuffer source, DeviceMemory target, long offset, long bytes);

    /// <summary>Enqueues a copy to the buffer's first bytes; they are there once a fence set afterwards was waited for.</summary>
    void ToHost(DeviceMemory source, long offset, HostBuffer target, long bytes);

    /// <summary>A fence that is not set. The caller disposes it.</summary>
    /// <param name="sleeping">Waiting for it leaves the processor to others, at some tens of µs.</param>
    ICopyFence CreateFence(bool sleeping);
}

/// <summary>A point in the order of the stream.</summary>
internal interface ICopyFence : IDisposable
{
    /// <summary>Puts the fence behind everything enqueued so far.</summary>
    void Set();

    /// <summary>Waits until everything before the fence has run; returns at once where it was never set.</summary>
    void Wait();
}
