namespace TpServe.Kernels;

/// <summary>A weight matrix in the layout of the backend that packed it.</summary>
public abstract class PackedWeight : IDisposable
{
    /// <summary>The format of the file; values are never requantised.</summary>
    public abstract WeightFormat Format { get; }

    /// <summary>Output features.</summary>
    public abstract int Outputs { get; }

    /// <summary>The input features it covers and the order in which their partial sums are added.</summary>
    public abstract InputLeaves Leaves { get; }

    /// <summary>Device bytes held.</summary>
    public abstract long Bytes { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the device memory.</summary>
    protected abstract void Dispose(bool disposing);
}
