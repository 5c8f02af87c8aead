using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TpServe.InterpretedGpu.Tests;

/// <summary>The functions of libcuda that ILGPU and the CUDA backend call, over the interpreted card.</summary>
/// <remarks>
/// Names, arguments and structures are the driver's; what a function does not need, it ignores. A fault of a kernel is kept and given as
/// CUDA_ERROR_LAUNCH_FAILED.
/// Source   CUDA driver API.
/// </remarks>
internal static unsafe partial class DriverFunctions
{
    private const int LaunchFailed = 719;

    private static bool s_installed;

    /// <summary>Puts the card behind the name of the driver's library, for the life of the process.</summary>
    public static void Install()
    {
        if (s_installed)
            return;
        s_installed = true;
        StubLibrary.Load("libcuda.so.1", typeof(DriverFunctions).GetMethods(BindingFlags.Static | BindingFlags.NonPublic)
            .Where(method => method.GetCustomAttribute<UnmanagedCallersOnlyAttribute>() is not null)
            .ToDictionary(method => method.Name, method => method.MethodHandle.GetFunctionPointer()));
    }

    /// <summary>No exception may leave a function that native code called.</summary>
    private static int Guarded(Func<int> body, [CallerMemberName] string function = "")
    {
        lock (Card.Gate)
        {
            try
            {
                return body();
            }
            catch (Exception fault)
            {
                Card.Fault ??= $"{function}: {fault.Message}";
                return LaunchFailed;
            }
        }
    }

    private static int Hand(nint* to, object thing) => Guarded(() =>
    {
        *to = Card.Keep(thing); // the caller's variable
        return 0;
    });

    private static int Text(ReadOnlySpan<byte> text, byte* to, int bytes)
    {
        text.CopyTo(new Span<byte>(to, bytes)); // the caller's buffer of so many bytes
        return 0;
    }

    // The device and its context.

    [UnmanagedCallersOnly]
    private static int cuInit(int flags) => 0;

    [UnmanagedCallersOnly]
    private static int cuDriverGetVersion(int* version)
    {
        *version = 13000;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuGetErrorName(int error, nint* name)
    {
        *name = Marshal.StringToHGlobalAnsi($"INTERPRETED_{error}");
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuGetErrorString(int error, nint* text)
    {
        *text = Marshal.StringToHGlobalAnsi(Card.Fault ?? $"error {error}");
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuDeviceGetCount(int* count)
    {
        *count = 1;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuDeviceGet(int* device, int ordinal)
    {
        *device = ordinal;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuDeviceGetName(byte* name, int bytes, int device) => Text("Interpreted GPU\0"u8, name, bytes);

    [UnmanagedCallersOnly]
    private static int cuDeviceGetUuid(byte* uuid, int device) => Text("interpreted gpu."u8, uuid, 16);

    [UnmanagedCallersOnly]
    private static int cuDeviceGetUuid_v2(byte* uuid, int device) => Text("interpreted gpu."u8, uuid, 16);

    [UnmanagedCallersOnly]
    private static int cuDeviceGetPCIBusId(byte* bus, int bytes, int device) => Text("0000:01:00.0\0"u8, bus, bytes);

    [UnmanagedCallersOnly]
    private static int cuDeviceTotalMem_v2(long* bytes, int device)
    {
        *bytes = 16L << 30;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuMemGetInfo_v2(long* free, long* total)
    {
        (*free, *total) = (12L << 30, 16L << 30);
        return 0;
    }

    /// <summary>Compute capability 9.0, with few multiprocessors, so that grids of as many groups as fit stay small.</summary>
    [UnmanagedCallersOnly]
    private static int cuDeviceGetAttribute(int* value, int attribute, int device)
    {
        *value = attribute switch
        {
            1 or 2 or 3 => 1024,    // threads of a group, and its width and height
            4 => 64,                // its depth
            5 or 11 => int.MaxValue, // width of a grid; pitch
            6 or 7 => 65535,        // height and depth of a grid
            8 => 48 << 10,          // shared memory of a group
            9 => 64 << 10,          // constant memory
            10 => 32,               // threads of a warp
            12 or 82 => 65536,      // registers
            16 => 4,                // multiprocessors
            39 => 2048,             // threads of a multiprocessor
            75 => 9,                // compute capability
            76 => 0,
            81 => 228 << 10,        // shared memory of a multiprocessor
            _ => 1,
        };
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuDeviceCanAccessPeer(int* can, int device, int peer)
    {
        *can = 1;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuDeviceGetP2PAttribute(int* value, int attribute, int source, int target)
    {
        *value = 1;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuCtxCreate_v2(nint* context, int flags, int device) => Hand(context, "context");

    [UnmanagedCallersOnly]
    private static int cuDevicePrimaryCtxRetain(nint* context, int device) => Hand(context, "primary context");

    [UnmanagedCallersOnly]
    private static int cuDevicePrimaryCtxRelease_v2(int device) => 0;

    [UnmanagedCallersOnly]
    private static int cuCtxDestroy_v2(nint context) => 0;

    [UnmanagedCallersOnly]
    private static int cuCtxSetCurrent(nint context) => 0;

    [UnmanagedCallersOnly]
    private static int cuCtxPushCurrent_v2(nint context) => 0;

    [UnmanagedCallersOnly]
    private static int cuCtxPopCurrent_v2(nint* context) => Hand(context, "context");

    [UnmanagedCallersOnly]
    private static int cuCtxSynchronize() => 0;

    [UnmanagedCallersOnly]
    private static int cuCtxGetCacheConfig(int* config)
    {
        *config = 0;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuCtxSetCacheConfig(int config) => 0;

    [UnmanagedCallersOnly]
    private static int cuCtxGetSharedMemConfig(int* config)
    {
        *config = 0;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuCtxSetSharedMemConfig(int config) => 0;
}
