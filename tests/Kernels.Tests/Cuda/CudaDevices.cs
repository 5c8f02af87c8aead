using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Driver;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>The devices every kernel test runs on: ILGPU's CPU accelerator always, the machine's first GPU where it has one.</summary>
public static class CudaDevices
{
    /// <summary>"emulated", and "gpu" where there is one.</summary>
    public static IEnumerable<string> All => HasGpu ? ["emulated", "gpu"] : ["emulated"];

    /// <summary>True where the driver finds a GPU.</summary>
    public static bool HasGpu => Gpu.Value;

    private static readonly Lazy<bool> Gpu = new(() =>
    {
        try
        {
            CudaContext.Open(0).Dispose();
            return true;
        }
        catch (Exception fault) when (fault is ArgumentException or NotSupportedException or DllNotFoundException)
        {
            return false;
        }
    });

    /// <summary>A backend on one of the devices.</summary>
    public static CudaBackend Open(string device, CudaActivations activations = CudaActivations.Auto) =>
        new(device == "gpu" ? CudaContext.Open(0) : CudaContext.Emulated(), activations);
}
