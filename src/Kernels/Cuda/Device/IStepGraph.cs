namespace TpServe.Kernels.Cuda.Device;

/// <summary>A recording that can be run any number of times. Disposing one that still runs is allowed.</summary>
internal interface IStepGraph : IDisposable
{
    /// <summary>Enqueues a run of it.</summary>
    void Launch();
}
