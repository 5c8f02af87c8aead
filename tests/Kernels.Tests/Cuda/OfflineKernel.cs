using System.Reflection;
using ILGPU;
using ILGPU.Backends.PTX;
using ILGPU.Runtime.CPU;
using ILGPU.Runtime.Cuda;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>A kernel of the house and its PTX, compiled without a GPU.</summary>
public sealed class OfflineKernel
{
    private static readonly Lazy<Context> Compiler = new(() => CudaContext.Build(builder => builder.CPU(CPUDeviceKind.Nvidia)));

    private readonly Lazy<string> _ptx;

    private OfflineKernel(MethodInfo method, string uses)
    {
        Method = method;
        Uses = uses;
        _ptx = new Lazy<string>(Compile);
    }

    /// <summary>The kernel's method, with its type arguments.</summary>
    public MethodInfo Method { get; }

    /// <summary>An instruction it must contain; empty = none in particular.</summary>
    public string Uses { get; }

    /// <summary>Its PTX for compute capability 9.0.</summary>
    public string Ptx => _ptx.Value;

    /// <summary>Every kernel under src/Kernels/Cuda.</summary>
    public static IReadOnlyList<OfflineKernel> All { get; } = [.. Find(typeof(CudaBackend).Assembly)];

    /// <summary>The kernel of a class; generic ones by their type arguments.</summary>
    public static OfflineKernel Of(Type type, string name, params Type[] typeArguments) =>
        All.Single(kernel => kernel.Method.DeclaringType == type && kernel.Method.Name == name && kernel.Method.GetGenericArguments().SequenceEqual(typeArguments));

    /// <summary>Every kernel of an assembly.</summary>
    public static IEnumerable<OfflineKernel> Find(Assembly assembly) =>
        from type in assembly.GetTypes()
        from method in type.GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
        from attribute in method.GetCustomAttributes<DeviceKernelAttribute>()
        select new OfflineKernel(attribute.TypeArguments.Length == 0 ? method : method.MakeGenericMethod(attribute.TypeArguments), attribute.Uses);

    /// <inheritdoc/>
    public override string ToString() =>
        $"{Method.DeclaringType!.Name}.{Method.Name}{Arguments(Method.GetGenericArguments())}";

    private static string Arguments(Type[] types) => types.Length == 0 ? "" : $"<{string.Join(", ", types.Select(Name))}>";

    private static string Name(Type type) => type.Name.Split('`')[0] + Arguments(type.GetGenericArguments());

    private string Compile()
    {
        using PTXBackend backend = new(Compiler.Value, CudaArchitecture.SM_90, CudaInstructionSet.ISA_80, null!);
        return CompiledKernels.Compile(backend, Method).PTXAssembly;
    }
}
