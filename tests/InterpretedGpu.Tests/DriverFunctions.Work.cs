using System.Runtime.InteropServices;
using TpServe.Ptx;

namespace TpServe.InterpretedGpu.Tests;

/// <summary>Memory, modules, launches, streams and graphs.</summary>
internal static unsafe partial class DriverFunctions
{
    [UnmanagedCallersOnly]
    private static int cuMemAlloc_v2(nint* address, nint bytes) => Guarded(() =>
    {
        *address = Card.Allocate(bytes);
        return 0;
    });

    [UnmanagedCallersOnly]
    private static int cuMemFree_v2(nint address) => Guarded(() =>
    {
        Card.Free(address);
        return 0;
    });

    [UnmanagedCallersOnly]
    private static int cuMemAllocHost_v2(nint* address, nint bytes)
    {
        *address = (nint)NativeMemory.AllocZeroed((nuint)bytes);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuMemHostAlloc(nint* address, nint bytes, int flags)
    {
        *address = (nint)NativeMemory.AllocZeroed((nuint)bytes);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuMemFreeHost(nint address)
    {
        NativeMemory.Free((void*)address);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuMemHostRegister_v2(nint address, nint bytes, int flags) => 0;

    [UnmanagedCallersOnly]
    private static int cuMemHostUnregister(nint address) => 0;

    [UnmanagedCallersOnly]
    private static int cuMemcpyAsync(nint target, nint source, nint bytes, nint stream) => Guarded(() => Card.Copy(target, source, bytes));

    [UnmanagedCallersOnly]
    private static int cuMemcpyHtoDAsync_v2(nint target, nint source, nint bytes, nint stream) => Guarded(() => Card.Copy(target, source, bytes));

    [UnmanagedCallersOnly]
    private static int cuMemcpyDtoHAsync_v2(nint target, nint source, nint bytes, nint stream) => Guarded(() => Card.Copy(target, source, bytes));

    [UnmanagedCallersOnly]
    private static int cuMemsetD8Async(nint target, byte value, nint bytes, nint stream) => Guarded(() => Card.Fill(target, value, bytes));

    [UnmanagedCallersOnly]
    private static int cuModuleLoadData(nint* module, byte* text) => Hand(module, Marshal.PtrToStringAnsi((nint)text)!);

    [UnmanagedCallersOnly]
    private static int cuModuleLoadDataEx(nint* module, byte* text, int options, nint names, nint values) => Hand(module, Marshal.PtrToStringAnsi((nint)text)!);

    [UnmanagedCallersOnly]
    private static int cuModuleGetFunction(nint* function, nint module, byte* name) => Hand(function, (Card.Find<string>(module), Marshal.PtrToStringAnsi((nint)name)!));

    [UnmanagedCallersOnly]
    private static int cuModuleUnload(nint module) => 0;

    [UnmanagedCallersOnly]
    private static int cuLaunchKernel(
        nint function, int gridX, int gridY, int gridZ, int blockX, int blockY, int blockZ, int sharedBytes, nint stream, nint arguments, nint extra) => Guarded(() =>
    {
        (string text, string name) = Card.Find<(string, string)>(function);
        Card.Launch(text, name, (gridX, gridY, gridZ), (blockX, blockY, blockZ), sharedBytes, kernel => Arguments(kernel, (void**)arguments, (nint*)extra));
        return 0;
    });

    /// <summary>A kernel's arguments, which come as addresses, one each, or as one buffer: pairs of (1, buffer), (2, size), closed by 0.</summary>
    private static object[] Arguments(PtxKernel kernel, void** each, nint* extra)
    {
        if (each is not null)
            return [.. kernel.Parameters.Select((parameter, i) => new ReadOnlySpan<byte>(each[i], parameter.Bytes).ToArray())];
        byte* buffer = null;
        for (nint* entry = extra; *entry != 0; entry += 2)
            if (*entry == 1)
                buffer = (byte*)entry[1];
        return [.. kernel.Parameters.Select(parameter => new ReadOnlySpan<byte>(buffer + parameter.Offset, parameter.Bytes).ToArray())];
    }

    [UnmanagedCallersOnly]
    private static int cuStreamCreate(nint* stream, int flags) => Hand(stream, "stream");

    [UnmanagedCallersOnly]
    private static int cuStreamCreateWithPriority(nint* stream, int flags, int priority) => Hand(stream, "stream");

    [UnmanagedCallersOnly]
    private static int cuStreamDestroy_v2(nint stream) => 0;

    [UnmanagedCallersOnly]
    private static int cuStreamSynchronize(nint stream) => 0;

    [UnmanagedCallersOnly]
    private static int cuEventCreate(nint* handle, int flags) => Hand(handle, "event");

    [UnmanagedCallersOnly]
    private static int cuEventRecord(nint handle, nint stream) => 0;

    [UnmanagedCallersOnly]
    private static int cuEventQuery(nint handle) => 0;

    [UnmanagedCallersOnly]
    private static int cuEventSynchronize(nint handle) => 0;

    [UnmanagedCallersOnly]
    private static int cuEventDestroy_v2(nint handle) => 0;

    [UnmanagedCallersOnly]
    private static int cuStreamBeginCapture_v2(nint stream, int mode) => Guarded(() =>
    {
        Card.Recording = [];
        return 0;
    });

    [UnmanagedCallersOnly]
    private static int cuStreamEndCapture(nint stream, nint* graph) => Guarded(() =>
    {
        *graph = Card.RefusesRecordings ? 0 : Card.Keep(Card.Recording!);
        Card.Recording = null;
        return Card.RefusesRecordings ? Card.RecordingInvalidated : 0;
    });

    [UnmanagedCallersOnly]
    private static int cuStreamIsCapturing(nint stream, int* status)
    {
        *status = Card.Recording is null ? 0 : 1;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int cuGraphInstantiateWithFlags(nint* exec, nint graph, ulong flags) => Hand(exec, Card.Find<List<Action>>(graph));

    [UnmanagedCallersOnly]
    private static int cuGraphLaunch(nint exec, nint stream) => Guarded(() =>
    {
        Card.LaunchGraph(Card.Find<List<Action>>(exec));
        return 0;
    });

    [UnmanagedCallersOnly]
    private static int cuGraphExecDestroy(nint exec) => 0;

    [UnmanagedCallersOnly]
    private static int cuGraphDestroy(nint graph) => 0;
}
