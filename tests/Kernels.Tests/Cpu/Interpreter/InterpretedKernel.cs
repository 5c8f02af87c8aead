using Iced.Intel;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Emit;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>A panel kernel of any family, executed by the interpreter: it touches what it is allowed to and nothing else.</summary>
internal sealed unsafe class InterpretedKernel(KernelCode code, IEnumerable<CpuidFeature> features) : PanelKernel(code.Shape, code.Correction), IDisposable
{
    /// <summary>The CPU.</summary>
    public CodeInterpreter Cpu { get; } = new(code.Bytes, features);

    /// <summary>What a path's CPUs have.</summary>
    public static CpuidFeature[] Features(IsaPath path, bool hasBFloat16) => path switch
    {
        IsaPath.Avx2 => HostFeatures.Avx2,
        IsaPath.AvxVnni => HostFeatures.AvxVnni,
        IsaPath.Avx512 => HostFeatures.Avx512,
        _ => hasBFloat16 ? HostFeatures.Avx512BFloat16 : HostFeatures.Avx512Vnni,
    };

    /// <inheritdoc/>
    public override void Run(int rows, int groups, PanelCall* call) => Cpu.Run(code.Entries[KernelCode.Entry(Shape, rows, groups)], (nint)call);

    /// <inheritdoc/>
    public void Dispose() => Cpu.Dispose();
}
