namespace TpServe.Kernels.Cuda;

/// <summary>Marks a method that is compiled for the GPU, so that tests can compile each of them offline.</summary>
/// <param name="typeArguments">One instantiation of a generic kernel; repeat the attribute for others.</param>
[AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
internal sealed class DeviceKernelAttribute(params Type[] typeArguments) : Attribute
{
    /// <summary>Arguments of the generic kernel; empty where it is not generic.</summary>
    public Type[] TypeArguments => typeArguments;

    /// <summary>An instruction the compiled kernel must contain, such as "mma.sync"; empty = none in particular.</summary>
    public string Uses { get; init; } = "";
}
