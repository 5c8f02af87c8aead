namespace TpServe.Kernels;

/// <summary>A block of device memory. Whoever allocated it disposes it; tensors only look into it.</summary>
public abstract class DeviceBuffer : IDisposable
{
    /// <summary>Usable bytes.</summary>
    public abstract long Bytes { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the memory; a second call does nothing.</summary>
    protected abstract void Dispose(bool disposing);
}
