using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;

namespace TpServe.Kernels.Cuda.Device;

/// <summary>Kernels as PTX, with two lines of ILGPU's corrected.</summary>
/// <remarks>
/// Uniform branches. ILGPU marks conditional branches as uniform (bra.uni: all lanes of a warp go the same way) by an analysis that takes the result of an intrinsic, of a
/// loop of atomics and of values that only control flow makes different for the same in every lane. An assembler that believes it may leave out what brings
/// a warp together again, and the next shuffle or mma then runs with half of it. A plain branch is always right, and where lanes agree costs nothing.
/// Shared memory. ILGPU aligns an array to its element; cp.async and vector accesses of 16 bytes need its start to be a multiple of 16.
/// </remarks>
internal static partial class CompiledKernels
{
    /// <summary>Compiles a kernel within the limits its attribute states.</summary>
    public static PTXCompiledKernel Compile(PTXBackend backend, MethodInfo kernel)
    {
        PTXCompiledKernel compiled = (PTXCompiledKernel)backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(kernel), DeviceKernelAttribute.LimitsOf(kernel));
        ref string text = ref Text(compiled);
        text = string.Join('\n', text.Split('\n').Select(Corrected));
        return compiled;
    }

    private static string Corrected(string line)
    {
        if (line.TrimStart().StartsWith('@'))
            return line.Replace("bra.uni", "bra", StringComparison.Ordinal);
        return SharedArray().Replace(line, "$1.align 16 ");
    }

    [GeneratedRegex(@"^(\s*(?:\.extern\s+)?\.shared\s+)\.align\s+[1248]\s")]
    private static partial Regex SharedArray();

    /// <summary>ILGPU gives a kernel's text to read only; the driver is given what this field holds.</summary>
    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "<PTXAssembly>k__BackingField")]
    private static extern ref string Text(PTXCompiledKernel kernel);
}
