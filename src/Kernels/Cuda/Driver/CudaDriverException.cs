namespace TpServe.Kernels.Cuda.Driver;

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
