namespace TpServe.Kernels.Cuda.Device;

/// <summary>A point in the order of the stream.</summary>
internal interface ICopyFence : IDisposable
{
    /// <summary>Puts the fence behind everything enqueued so far.</summary>
    void Set();

    /// <summary>Waits until everything before the fence has run; returns at once where it was never set.</summary>
    void Wait();
}
