using System.Reflection;
using ILGPU;
using ILGPU.Algorithms;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace TpServe.Ptx.Tests;

/// <summary>Compiles C# kernels to PTX with ILGPU, without a card.</summary>
internal static class IlgpuPtx
{
    /// <summary>The module of one explicitly grouped kernel.</summary>
    public static PtxModule Compile(Delegate kernel) => PtxModule.Parse(Text(kernel.Method));

    public static string Text(MethodInfo kernel)
    {
        using Context context = Context.Create(builder => builder.Optimize(OptimizationLevel.O2).EnableAlgorithms());
        using PTXBackend backend = new(context, CudaArchitecture.SM_80, CudaInstructionSet.ISA_80, null!);
        PTXCompiledKernel compiled = (PTXCompiledKernel)backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(kernel), default);
        return compiled.PTXAssembly;
    }
}
