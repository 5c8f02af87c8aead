using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cuda.Driver;

/// <summary>The CUDA driver API, as far as TpServe calls it itself; each file of this class holds one subject's functions.</summary>
/// <remarks>
/// Threads  the driver's functions are thread-safe; a context is current to a thread.
/// Errors   <see cref="CudaDriverException"/> from <see cref="Check"/>; DllNotFoundException where the machine has no driver, from the first call.
/// Source   CUDA Driver API reference; the _v2 names are what the header's plain names stand for.
/// </remarks>
internal static partial class CudaDriver
{
    /// <summary>The driver's library; its name carries the ABI version and has not changed since CUDA exists.</summary>
    internal const string Library = "libcuda.so.1";

    private const int Success = 0;

    /// <summary>Every call's result goes through here.</summary>
    /// <exception cref="CudaDriverException">The call failed.</exception>
    internal static void Check(int result, string function)
    {
        if (result != Success)
            throw new CudaDriverException(function, NameOf(result), result);
    }

    /// <summary>The driver's own name of an error: CUDA_ERROR_NO_DEVICE.</summary>
    private static string NameOf(int result)
    {
        try
        {
            return cuGetErrorName(result, out nint name) == Success && name != 0 ? Marshal.PtrToStringUTF8(name)! : "an error this driver has no name for";
        }
        catch (EntryPointNotFoundException)
        {
            return "an error this driver has no name for";
        }
    }

    [LibraryImport(Library)]
    private static partial int cuGetErrorName(int error, out nint name);
}

/// <summary>A call into the CUDA driver failed: "cuInit: CUDA_ERROR_NO_DEVICE (100)".</summary>
public sealed class CudaDriverException : Exception
{
    internal CudaDriverException(string function, string error, int result) : base($"{function}: {error} ({result})")
    {
        Function = function;
        Result = result;
    }

    /// <summary>The driver's function.</summary>
    public string Function { get; }

    /// <summary>The driver's error number.</summary>
    public int Result { get; }
}
