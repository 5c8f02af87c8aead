using System.Reflection;
using ILGPU;
using ILGPU.Runtime;

namespace TpServe.Kernels.Cuda.Device;

/// <summary>Marks a method that is compiled for the GPU, so that tests can compile each of them offline.</summary>
/// <param name="typeArguments">One instantiation of a generic kernel; repeat the attribute for others.</param>
[AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
public sealed class DeviceKernelAttribute(params Type[] typeArguments) : Attribute
{
    /// <summary>Arguments of the generic kernel; empty where it is not generic.</summary>
    public Type[] TypeArguments => typeArguments;

    /// <summary>An instruction the compiled kernel must contain, such as "mma.sync"; empty = none in particular.</summary>
    public string Uses { get; init; } = "";

    /// <summary>Threads of a group, where it has always so many; 0 = any. Without it the assembler saves registers for groups of 1024 and lets few loads fly.</summary>
    public int GroupSize { get; init; }

    /// <summary>Groups that a multiprocessor should hold at once: the registers a thread may take follow from it. Needs <see cref="GroupSize"/>.</summary>
    public int GroupsPerMultiprocessor { get; init; } = 1;

    /// <summary>What a kernel's method, with its type arguments, says about its launches.</summary>
    internal static KernelSpecialization LimitsOf(MethodInfo kernel) =>
        kernel.GetCustomAttributes<DeviceKernelAttribute>().FirstOrDefault(attribute => attribute.TypeArguments.SequenceEqual(kernel.GetGenericArguments())) is { GroupSize: > 0 } limits
            ? new KernelSpecialization(limits.GroupSize, limits.GroupsPerMultiprocessor)
            : KernelSpecialization.Empty;
}
