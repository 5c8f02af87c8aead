using System.Globalization;
using TpServe.Checkpoint;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>The one place that knows which backend serves which device.</summary>
internal static class DeviceBackends
{
    /// <summary>Opens the backend of <see cref="LoadRequest.Device"/>; the caller disposes it.</summary>
    /// <exception cref="ModelLoadException">The device is unknown.</exception>
    /// <exception cref="ArgumentException">The instruction set path is unknown, there is no such GPU, or it is too old.</exception>
    public static ITensorBackend Open(LoadRequest request) => request.Device switch
    {
        "cpu" => OpenCpu(request),
        "cuda-emulated" => new CudaBackend(CudaContext.Emulated(), Activations(request)),
        _ => new CudaBackend(CudaContext.Open(Ordinal(request.Device)), Activations(request)),
    };

    /// <summary>The type of activations that a load asks of a GPU.</summary>
    public static CudaActivations Activations(LoadRequest request) => request.ActivationDtype == "f32" ? CudaActivations.Float32 : CudaActivations.Auto;

    private static int Ordinal(string device) =>
        device.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(device.AsSpan("cuda:".Length), NumberStyles.None, CultureInfo.InvariantCulture, out int ordinal)
            ? ordinal
            : throw new ModelLoadException($"device '{device}' is unknown; cpu, cuda:N and cuda-emulated are known.");

    private static CpuBackend OpenCpu(LoadRequest request)
    {
        if (!Isa.TryParse(request.Isa, out IsaPath isa))
            throw new ArgumentException($"instruction set path '{request.Isa}' is unknown.");
        return new CpuBackend(request.Threads, isa, request.ActivationDtype == "f32" ? CpuActivations.Float32 : CpuActivations.Auto);
    }
}
