using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cuda.Driver;

/// <summary>CUipcMemHandle: 64 bytes that name an allocation to another process on the host.</summary>
public unsafe struct IpcMemoryName
{
    /// <summary>CU_IPC_HANDLE_SIZE.</summary>
    public const int Size = 64;

    private fixed byte _bytes[Size];

    /// <summary>The name as it travelled.</summary>
    public IpcMemoryName(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length != Size)
            throw new ArgumentException($"A name of GPU memory has {Size} bytes, not {bytes.Length}.");
        fixed (byte* target = _bytes) // exactly Size bytes, as checked
            bytes.CopyTo(new Span<byte>(target, Size));
    }

    /// <summary>The name as it travels.</summary>
    public readonly byte[] ToArray()
    {
        fixed (byte* source = _bytes) // exactly Size bytes
            return new ReadOnlySpan<byte>(source, Size).ToArray();
    }
}

// Memory that processes share, and memory that the host and kernels share. Sizes are size_t, a CUdeviceptr is 64 bits wide.
internal static unsafe partial class CudaDriver
{
    private const uint LazyEnablePeerAccess = 1;
    private const uint PortableMapped = 1 | 2;
    private const uint NonBlocking = 1;

    /// <summary>The calls of the action find this context current on the calling thread.</summary>
    internal static void InContext(nint context, Action body)
    {
        Check(cuCtxPushCurrent_v2(context), nameof(cuCtxPushCurrent_v2));
        try
        {
            body();
        }
        finally
        {
            Check(cuCtxPopCurrent_v2(out _), nameof(cuCtxPopCurrent_v2));
        }
    }

    /// <summary>Zeroed device memory that starts an allocation, as a name given to other processes has to.</summary>
    internal static DriverMemory AllocateDevice(nint context, long bytes)
    {
        DriverMemory memory = new(context, DriverMemoryKind.Device);
        InContext(context, () =>
        {
            Check(cuMemAlloc_v2(out nint address, (nuint)bytes), nameof(cuMemAlloc_v2));
            memory.Adopt(address);
            Check(cuMemsetD8_v2(address, 0, (nuint)bytes), nameof(cuMemsetD8_v2));
            Check(cuCtxSynchronize(), nameof(cuCtxSynchronize)); // a peer may write as soon as it knows the name
        });
        return memory;
    }

    /// <summary>Zeroed page-locked host memory that kernels can address.</summary>
    internal static DriverMemory AllocateMapped(nint context, int bytes)
    {
        DriverMemory memory = new(context, DriverMemoryKind.Mapped);
        InContext(context, () =>
        {
            Check(cuMemHostAlloc(out nint address, (nuint)bytes, PortableMapped), nameof(cuMemHostAlloc));
            memory.Adopt(address);
            NativeMemory.Clear((void*)address, (nuint)bytes); // the block just allocated
        });
        return memory;
    }

    /// <summary>Where kernels find <see cref="AllocateMapped"/>'s memory.</summary>
    internal static long DeviceAddress(nint context, DriverMemory mapped)
    {
        nint address = 0;
        InContext(context, () => Check(cuMemHostGetDevicePointer_v2(out address, mapped.Address, 0), nameof(cuMemHostGetDevicePointer_v2)));
        return address;
    }

    /// <summary>What another process opens this allocation by.</summary>
    internal static IpcMemoryName Export(nint context, DriverMemory memory)
    {
        IpcMemoryName name = default;
        InContext(context, () => Check(cuIpcGetMemHandle(out name, memory.Address), nameof(cuIpcGetMemHandle)));
        return name;
    }

    /// <summary>Another process's allocation, mapped here; access between the GPUs is enabled.</summary>
    internal static DriverMemory OpenIpc(nint context, IpcMemoryName name)
    {
        DriverMemory memory = new(context, DriverMemoryKind.Opened);
        InContext(context, () =>
        {
            Check(cuIpcOpenMemHandle_v2(out nint address, name, LazyEnablePeerAccess), nameof(cuIpcOpenMemHandle_v2));
            memory.Adopt(address);
        });
        return memory;
    }

    /// <summary>Whether kernels of one GPU can read another's memory.</summary>
    internal static bool CanAccessPeer(int device, int peer)
    {
        Check(cuDeviceCanAccessPeer(out int can, device, peer), nameof(cuDeviceCanAccessPeer));
        return can != 0;
    }

    /// <summary>A stream that waits for no other.</summary>
    internal static nint CreateStream(nint context)
    {
        nint stream = 0;
        InContext(context, () => Check(cuStreamCreate(out stream, NonBlocking), nameof(cuStreamCreate)));
        return stream;
    }

    /// <summary>Waits for a stream.</summary>
    internal static void Synchronize(nint stream) => Check(cuStreamSynchronize(stream), nameof(cuStreamSynchronize));

    /// <summary>Gives a stream back.</summary>
    internal static void DestroyStream(nint context, nint stream) => InContext(context, () => Check(cuStreamDestroy_v2(stream), nameof(cuStreamDestroy_v2)));

    /// <summary>True where the driver took the memory back.</summary>
    internal static bool Free(nint context, DriverMemoryKind kind, nint address)
    {
        if (cuCtxPushCurrent_v2(context) != Success)
            return false;
        int result = kind switch
        {
            DriverMemoryKind.Device => cuMemFree_v2(address),
            DriverMemoryKind.Mapped => cuMemFreeHost(address),
            _ => cuIpcCloseMemHandle(address),
        };
        return cuCtxPopCurrent_v2(out _) == Success && result == Success;
    }

    [LibraryImport(Library)]
    private static partial int cuMemAlloc_v2(out nint address, nuint bytes);

    [LibraryImport(Library)]
    private static partial int cuMemFree_v2(nint address);

    [LibraryImport(Library)]
    private static partial int cuMemsetD8_v2(nint address, byte value, nuint bytes);

    [LibraryImport(Library)]
    private static partial int cuCtxSynchronize();

    [LibraryImport(Library)]
    private static partial int cuMemHostAlloc(out nint address, nuint bytes, uint flags);

    [LibraryImport(Library)]
    private static partial int cuMemFreeHost(nint address);

    [LibraryImport(Library)]
    private static partial int cuMemHostGetDevicePointer_v2(out nint deviceAddress, nint address, uint flags);

    [LibraryImport(Library)]
    private static partial int cuIpcGetMemHandle(out IpcMemoryName name, nint address);

    [LibraryImport(Library)]
    private static partial int cuIpcOpenMemHandle_v2(out nint address, IpcMemoryName name, uint flags);

    [LibraryImport(Library)]
    private static partial int cuIpcCloseMemHandle(nint address);

    [LibraryImport(Library)]
    private static partial int cuDeviceCanAccessPeer(out int can, int device, int peer);

    [LibraryImport(Library)]
    private static partial int cuStreamCreate(out nint stream, uint flags);

    [LibraryImport(Library)]
    private static partial int cuStreamDestroy_v2(nint stream);

    [LibraryImport(Library)]
    private static partial int cuStreamSynchronize(nint stream);
}
