using System.Globalization;
using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Algorithms;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using ILGPU.Runtime.Cuda;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Device;

/// <summary>One device that ILGPU compiles for: an NVIDIA GPU, or ILGPU's CPU accelerator in its place.</summary>
/// <remarks>Threads   the rank's thread, which alone touches the accelerator.</remarks>
public sealed class CudaContext : IDisposable
{
    private readonly Context _context;

    /// <summary>ILGPU asks for "cuda", which is libcuda.so: a link that many hosts and containers with a driver do not have.</summary>
    static CudaContext() => NativeLibrary.SetDllImportResolver(
        typeof(CudaAccelerator).Assembly, static (name, _, _) => name == "cuda" && NativeLibrary.TryLoad(CudaDriver.Library, out nint driver) ? driver : 0);

    private CudaContext(Context context, Accelerator accelerator)
    {
        _context = context;
        Accelerator = accelerator;
    }

    /// <summary>True where kernels run on ILGPU's CPU accelerator.</summary>
    public bool IsEmulated => Accelerator.AcceleratorType == AcceleratorType.CPU;

    /// <summary>For people: "NVIDIA H100 80GB HBM3", "ILGPU CPU accelerator".</summary>
    public string Name => IsEmulated ? "ILGPU CPU accelerator" : Accelerator.Name;

    internal Accelerator Accelerator { get; }

    /// <summary>The GPU of an ordinal, as the driver counts them in this process.</summary>
    /// <exception cref="ArgumentException">There is no such GPU, or it is older than compute capability 8.0.</exception>
    public static CudaContext Open(int ordinal)
    {
        Context context = Build(builder => builder.Cuda());
        try
        {
            List<CudaDevice> devices = [.. context.GetCudaDevices()];
            CudaDevice device = devices.Find(found => found.DeviceId == ordinal)
                ?? throw new ArgumentException(string.Create(CultureInfo.InvariantCulture, $"cuda:{ordinal} was asked for; this process sees {devices.Count} GPUs."));
            if (device.Architecture is not { } architecture || architecture < CudaArchitecture.SM_80)
                throw new ArgumentException($"cuda:{ordinal} ({device.Name}) has compute capability {device.Architecture}; the kernels need 8.0 or newer.");
            return new CudaContext(context, device.CreateAccelerator(context));
        }
        catch
        {
            context.Dispose();
            throw;
        }
    }

    /// <summary>ILGPU's CPU accelerator with a GPU's limits: the same kernels, very slowly, without a GPU.</summary>
    public static CudaContext Emulated()
    {
        Context context = Build(builder => builder.CPU(CPUDeviceKind.Nvidia));
        return new CudaContext(context, context.GetDevice<CPUDevice>(0).CreateCPUAccelerator(context, CPUAcceleratorMode.Parallel));
    }

    /// <summary>A context that knows this room's intrinsics.</summary>
    internal static Context Build(Action<Context.Builder> devices) => Context.Create(builder =>
    {
        devices(builder);
        builder.Optimize(OptimizationLevel.O2).EnableAlgorithms();
        PtxIntrinsics.Register(builder);
    });

    /// <inheritdoc/>
    public void Dispose()
    {
        Accelerator.Dispose();
        _context.Dispose();
    }
}
