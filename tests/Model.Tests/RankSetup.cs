using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Kernels.Reference;

namespace TpServe.Model.Tests;

/// <summary>How the ranks of a test are built.</summary>
internal sealed record RankSetup
{
    /// <summary>Plain loops in float32: the oracle.</summary>
    public static RankSetup Reference { get; } = new() { Backend = () => new ReferenceBackend() };

    /// <summary>The CPU backend with float32 activations and cache.</summary>
    public static RankSetup CpuFloat32 { get; } = new() { Backend = () => new CpuBackend(threads: 1, activations: CpuActivations.Float32) };

    /// <summary>The CPU backend as a server runs it by default.</summary>
    public static RankSetup CpuDefault { get; } = new() { Backend = () => new CpuBackend(threads: 1), KvType = ElementType.Float16 };

    /// <summary>The GPU kernels on ILGPU's CPU accelerator, small steps only: it is slow.</summary>
    public static RankSetup CudaEmulated { get; } = new() { Backend = () => new CudaBackend(CudaContext.Emulated()), KvType = ElementType.Float16, Blocks = 16 };

    /// <summary>The machine's first GPU as a server runs it by default.</summary>
    public static RankSetup Gpu { get; } = new() { Backend = () => new CudaBackend(CudaContext.Open(0)), KvType = ElementType.Float16 };

    /// <summary>Makes a rank's device.</summary>
    public required Func<ITensorBackend> Backend { get; init; }

    public ElementType KvType { get; init; } = ElementType.Float32;

    public int BlockTokens { get; init; } = 16;

    public int Blocks { get; init; } = 64;

    /// <summary>What partial sums are sent as.</summary>
    public WireFormat Wire { get; init; }

    /// <summary>True where every slot of the cache holds NaN until a sequence writes it.</summary>
    public bool StaleNaN { get; init; }

    public ModelLimits Limits { get; init; } = new(MaxModelLength: 512, MaxStepTokens: 1024);
}
