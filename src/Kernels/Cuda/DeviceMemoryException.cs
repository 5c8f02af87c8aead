namespace TpServe.Kernels.Cuda;

/// <summary>A GPU has not the memory that was asked for.</summary>
public sealed class DeviceMemoryException : Exception
{
    internal DeviceMemoryException(string device, long bytes, Exception cause)
        : base($"{device} could not allocate {bytes >> 20} MiB: {cause.Message}", cause)
    {
    }
}
