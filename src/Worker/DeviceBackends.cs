using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>The one place that knows which backend serves which device, and what a load's enums are called in the rooms below.</summary>
internal static class DeviceBackends
{
    /// <summary>Opens the backend of <see cref="LoadRequest.Device"/>; the caller disposes it.</summary>
    /// <exception cref="ModelLoadException">The device or its instruction set path is unspecified.</exception>
    /// <exception cref="ArgumentException">The machine lacks the instruction set path or the GPU, or the GPU is too old.</exception>
    public static ITensorBackend Open(LoadRequest request) => Kind(request.Device) switch
    {
        DeviceKind.Cpu => OpenCpu(request),
        DeviceKind.CudaEmulated => new CudaBackend(CudaContext.Emulated(), Activations(request)),
        DeviceKind.Cuda => new CudaBackend(CudaContext.Open(request.Device.Ordinal), Activations(request)),
        DeviceKind kind => throw new ModelLoadException($"the load names no device ({kind})."),
    };

    /// <summary>The backend that a load of the same settings would open; the caller disposes it.</summary>
    /// <exception cref="ModelLoadException">As <see cref="Open(LoadRequest)"/>.</exception>
    /// <exception cref="ArgumentException">As <see cref="Open(LoadRequest)"/>.</exception>
    public static ITensorBackend Open(MeasureRequest request) => Open(new LoadRequest
    {
        Device = request.Device,
        Isa = request.Isa,
        Threads = request.Threads,
        Cpus = { request.Cpus },
        ActivationDtype = request.ActivationDtype,
    });

    /// <summary>The kind of a device; unspecified where a request names none.</summary>
    public static DeviceKind Kind(ComputeDevice? device) => device?.Kind ?? DeviceKind.Unspecified;

    /// <summary>The type of activations that a load asks of a GPU.</summary>
    public static CudaActivations Activations(LoadRequest request) => request.ActivationDtype == ActivationDtype.F32 ? CudaActivations.Float32 : CudaActivations.Auto;

    /// <summary>The type of the KV cache's elements.</summary>
    /// <exception cref="ModelLoadException">It is unspecified.</exception>
    public static ElementType Element(KvDtype dtype) => dtype switch
    {
        KvDtype.F32 => ElementType.Float32,
        KvDtype.F16 => ElementType.Float16,
        KvDtype.Bf16 => ElementType.BFloat16,
        KvDtype.Q8 => ElementType.Q8,
        _ => throw new ModelLoadException($"the load names no type of the KV cache ({dtype})."),
    };

    /// <summary>What partial sums are sent as; as they are where a request does not say.</summary>
    /// <exception cref="ModelLoadException">This release does not know it.</exception>
    public static WireFormat Wire(Wire wire) => wire switch
    {
        Protos.Worker.Wire.Unspecified or Protos.Worker.Wire.F32 => WireFormat.Float32,
        Protos.Worker.Wire.Bf16 => WireFormat.BFloat16,
        Protos.Worker.Wire.Q8 => WireFormat.Q8,
        _ => throw new ModelLoadException($"the load names no known wire ({wire})."),
    };

    /// <exception cref="ModelLoadException">The device has no kernels for the type of the KV cache.</exception>
    public static void RequireKvDtype(LoadRequest request)
    {
        DeviceKind kind = Kind(request.Device);
        if (request.KvDtype == KvDtype.Q8 && kind != DeviceKind.Cpu)
            throw new ModelLoadException($"a KV cache of type {request.KvDtype} is served on {DeviceKind.Cpu} only; the load names {kind}.");
    }

    /// <summary>A path as the handshake names it.</summary>
    public static InstructionSet Message(IsaPath path) => path switch
    {
        IsaPath.Scalar => InstructionSet.Scalar,
        IsaPath.Avx2 => InstructionSet.Avx2,
        IsaPath.AvxVnni => InstructionSet.AvxVnni,
        IsaPath.Avx512 => InstructionSet.Avx512,
        IsaPath.Avx512Vnni => InstructionSet.Avx512Vnni,
        IsaPath.Neon => InstructionSet.Neon,
        _ => throw new ArgumentOutOfRangeException(nameof(path), path, "not a path"),
    };

    private static CpuBackend OpenCpu(LoadRequest request)
    {
        IsaPath path = request.Isa switch
        {
            InstructionSet.Scalar => IsaPath.Scalar,
            InstructionSet.Avx2 => IsaPath.Avx2,
            InstructionSet.AvxVnni => IsaPath.AvxVnni,
            InstructionSet.Avx512 => IsaPath.Avx512,
            InstructionSet.Avx512Vnni => IsaPath.Avx512Vnni,
            InstructionSet.Neon => IsaPath.Neon,
            _ => throw new ModelLoadException($"the load names no instruction set path ({request.Isa})."),
        };
        return new CpuBackend(request.Threads, path, request.ActivationDtype == ActivationDtype.F32 ? CpuActivations.Float32 : CpuActivations.Auto, request.Cpus);
    }
}
