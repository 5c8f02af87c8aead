using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cuda.Driver;

// What the driver tells of itself and of each GPU. A CUdevice is an int, a CUcontext a pointer, sizes are size_t.
internal static unsafe partial class CudaDriver
{
    /// <summary>CUDA_ERROR_OUT_OF_MEMORY.</summary>
    internal const int OutOfMemory = 2;

    private const int NameBytes = 256;
    private const int UuidBytes = 16;
    private const int MultiprocessorCount = 16;
    private const int ComputeCapabilityMajor = 75;
    private const int ComputeCapabilityMinor = 76;

    /// <summary>Loads the driver; the first call of a process. Later ones do nothing.</summary>
    internal static void Initialize() => Check(cuInit(0), nameof(cuInit));

    /// <summary>Version of the CUDA API the driver offers: "13.0".</summary>
    internal static string Version()
    {
        Check(cuDriverGetVersion(out int version), nameof(cuDriverGetVersion));
        return FormattableString.Invariant($"{version / 1000}.{version % 1000 / 10}");
    }

    /// <summary>GPUs this process may use.</summary>
    internal static int DeviceCount()
    {
        Check(cuDeviceGetCount(out int count), nameof(cuDeviceGetCount));
        return count;
    }

    /// <summary>The driver's handle of an ordinal.</summary>
    internal static int Device(int ordinal)
    {
        Check(cuDeviceGet(out int device, ordinal), nameof(cuDeviceGet));
        return device;
    }

    internal static string DeviceName(int device)
    {
        // The driver writes at most NameBytes, the closing zero included.
        byte* name = stackalloc byte[NameBytes];
        Check(cuDeviceGetName(name, NameBytes, device), nameof(cuDeviceGetName));
        return Marshal.PtrToStringUTF8((nint)name)!;
    }

    /// <summary>"GPU-" and the id in its usual form: the same in every process and container.</summary>
    internal static string DeviceUuid(int device)
    {
        // CUuuid is 16 bytes.
        byte* uuid = stackalloc byte[UuidBytes];
        try
        {
            Check(cuDeviceGetUuid_v2(uuid, device), nameof(cuDeviceGetUuid_v2));
        }
        catch (EntryPointNotFoundException)
        {
            Check(cuDeviceGetUuid(uuid, device), nameof(cuDeviceGetUuid)); // drivers before CUDA 11.4
        }
        return FormatUuid(new ReadOnlySpan<byte>(uuid, UuidBytes));
    }

    /// <summary>The bytes are in the order they are written in.</summary>
    internal static string FormatUuid(ReadOnlySpan<byte> uuid) => "GPU-" + new Guid(uuid, bigEndian: true).ToString("D");

    /// <summary>"0000:1b:00.0".</summary>
    internal static string DevicePciBus(int device)
    {
        // The driver writes at most NameBytes, the closing zero included.
        byte* bus = stackalloc byte[NameBytes];
        Check(cuDeviceGetPCIBusId(bus, NameBytes, device), nameof(cuDeviceGetPCIBusId));
        return Marshal.PtrToStringUTF8((nint)bus)!;
    }

    internal static long DeviceTotalBytes(int device)
    {
        Check(cuDeviceTotalMem_v2(out nuint bytes, device), "cuDeviceTotalMem");
        return (long)bytes;
    }

    /// <summary>Compute capability times ten: 90 for 9.0.</summary>
    internal static int DeviceCapability(int device) => 10 * Attribute(device, ComputeCapabilityMajor) + Attribute(device, ComputeCapabilityMinor);

    internal static int DeviceMultiprocessors(int device) => Attribute(device, MultiprocessorCount);

    /// <summary>Memory that is free on the GPU, measured in its primary context, which is made for the question and given back.</summary>
    /// <remarks>The context itself takes some hundred MiB while it lives, as the rank's will: what is counted free is free beside one.</remarks>
    internal static long FreeBytes(int device)
    {
        Check(cuDevicePrimaryCtxRetain(out nint context, device), nameof(cuDevicePrimaryCtxRetain));
        try
        {
            Check(cuCtxPushCurrent_v2(context), "cuCtxPushCurrent");
            try
            {
                Check(cuMemGetInfo_v2(out nuint free, out _), "cuMemGetInfo");
                return (long)free;
            }
            finally
            {
                Check(cuCtxPopCurrent_v2(out _), "cuCtxPopCurrent");
            }
        }
        finally
        {
            Check(cuDevicePrimaryCtxRelease_v2(device), "cuDevicePrimaryCtxRelease");
        }
    }

    private static int Attribute(int device, int attribute)
    {
        Check(cuDeviceGetAttribute(out int value, attribute, device), nameof(cuDeviceGetAttribute));
        return value;
    }

    [LibraryImport(Library)]
    private static partial int cuInit(uint flags);

    [LibraryImport(Library)]
    private static partial int cuDriverGetVersion(out int version);

    [LibraryImport(Library)]
    private static partial int cuDeviceGetCount(out int count);

    [LibraryImport(Library)]
    private static partial int cuDeviceGet(out int device, int ordinal);

    [LibraryImport(Library)]
    private static partial int cuDeviceGetName(byte* name, int bytes, int device);

    [LibraryImport(Library)]
    private static partial int cuDeviceGetUuid(byte* uuid, int device);

    [LibraryImport(Library)]
    private static partial int cuDeviceGetUuid_v2(byte* uuid, int device);

    [LibraryImport(Library)]
    private static partial int cuDeviceGetPCIBusId(byte* bus, int bytes, int device);

    [LibraryImport(Library)]
    private static partial int cuDeviceTotalMem_v2(out nuint bytes, int device);

    [LibraryImport(Library)]
    private static partial int cuDeviceGetAttribute(out int value, int attribute, int device);

    [LibraryImport(Library)]
    private static partial int cuDevicePrimaryCtxRetain(out nint context, int device);

    [LibraryImport(Library)]
    private static partial int cuDevicePrimaryCtxRelease_v2(int device);

    [LibraryImport(Library)]
    private static partial int cuCtxPushCurrent_v2(nint context);

    [LibraryImport(Library)]
    private static partial int cuCtxPopCurrent_v2(out nint context);

    [LibraryImport(Library)]
    private static partial int cuMemGetInfo_v2(out nuint free, out nuint total);
}
