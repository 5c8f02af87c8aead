using TpServe.Checkpoint;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>The one place that knows which backend serves which device.</summary>
internal static class DeviceBackends
{
    /// <summary>Opens the backend of <see cref="LoadRequest.Device"/>; the caller disposes it.</summary>
    /// <exception cref="ModelLoadException">This build has no backend for the device.</exception>
    /// <exception cref="ArgumentException">The instruction set path is unknown.</exception>
    public static ITensorBackend Open(LoadRequest request) => request.Device switch
    {
        "cpu" => OpenCpu(request),
        _ => throw new ModelLoadException($"device '{request.Device}': this build has no GPU backend; use --device cpu."),
    };

    private static CpuBackend OpenCpu(LoadRequest request)
    {
        if (!Isa.TryParse(request.Isa, out IsaPath isa))
            throw new ArgumentException($"instruction set path '{request.Isa}' is unknown.");
        return new CpuBackend(request.Threads, isa, request.ActivationDtype == "f32" ? CpuActivations.Float32 : CpuActivations.Auto);
    }
}
