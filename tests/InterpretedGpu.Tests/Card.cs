using TpServe.Ptx;

namespace TpServe.InterpretedGpu.Tests;

/// <summary>The one card of this process: memory and kernels of the PTX interpreter, and what the driver keeps of them.</summary>
/// <remarks>
/// Everything runs at the call, in the order of the calls, whatever the stream. While a stream is recorded, launches are kept and copies are refused, as the
/// driver does.
/// Threads  the driver's functions are called one at a time, under <see cref="Gate"/>.
/// </remarks>
internal static class Card
{
    /// <summary>CUDA_ERROR_STREAM_CAPTURE_INVALIDATED.</summary>
    public const int RecordingInvalidated = 901;

    /// <summary>CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED.</summary>
    private const int CannotBeRecorded = 900;

    private static readonly PtxMemory Memory = new();
    private static readonly Dictionary<nint, PtxBuffer> Buffers = [];
    private static readonly List<object> Handles = [new object()]; // 0 is no handle
    private static readonly Dictionary<string, PtxModule> Modules = [];

    /// <summary>Taken by every function.</summary>
    public static Lock Gate { get; } = new();

    /// <summary>Kernels run.</summary>
    public static int Launches { get; private set; }

    /// <summary>Tensor-core instructions of warps executed.</summary>
    public static long MatrixInstructions { get; private set; }

    /// <summary>Graphs launched.</summary>
    public static int GraphLaunches { get; private set; }

    /// <summary>The first fault a kernel had; null = none. A driver cannot throw.</summary>
    public static string? Fault { get; set; }

    /// <summary>The launches that are being recorded; null = none are.</summary>
    public static List<Action>? Recording { get; set; }

    /// <summary>True where every recording ends with an error, as when another library's call has spoilt it.</summary>
    public static bool RefusesRecordings { get; set; }

    /// <summary>A handle for whatever the driver hands out.</summary>
    public static nint Keep(object thing)
    {
        Handles.Add(thing);
        return Handles.Count - 1;
    }

    /// <summary>What a handle stands for.</summary>
    public static T Find<T>(nint handle) => (T)Handles[(int)handle];

    /// <summary>Device memory nobody has written.</summary>
    public static nint Allocate(nint bytes)
    {
        PtxBuffer buffer = Memory.Allocate(bytes);
        Buffers[(nint)buffer.Address] = buffer;
        return (nint)buffer.Address;
    }

    /// <summary>Gives it back.</summary>
    public static void Free(nint address)
    {
        if (Buffers.Remove(address, out PtxBuffer? buffer))
            Memory.Free(buffer);
    }

    /// <summary>Copies between host and device; which is which, the addresses say.</summary>
    public static unsafe int Copy(nint target, nint source, nint bytes)
    {
        if (Recording is not null)
            return CannotBeRecorded;
        byte[] data = At(source) is { } from ? Memory.Read<byte>(from.Buffer, from.Offset, (int)bytes) : new ReadOnlySpan<byte>((void*)source, (int)bytes).ToArray(); // the caller's
        if (At(target) is { } to)
            Memory.Upload<byte>(to.Buffer, data, to.Offset);
        else
            data.CopyTo(new Span<byte>((void*)target, (int)bytes)); // the caller's
        return 0;
    }

    /// <summary>Sets bytes of the device.</summary>
    public static int Fill(nint target, byte value, nint bytes)
    {
        if (Recording is not null)
            return CannotBeRecorded;
        byte[] data = new byte[bytes];
        data.AsSpan().Fill(value);
        (PtxBuffer buffer, long offset) = At(target)!.Value;
        Memory.Upload<byte>(buffer, data, offset);
        return 0;
    }

    /// <summary>Runs a kernel, or records that it is to be run.</summary>
    public static void Launch(string text, string name, (int, int, int) grid, (int, int, int) block, int sharedBytes, Func<PtxKernel, object[]> arguments)
    {
        if (!Modules.TryGetValue(text, out PtxModule? module))
            Modules.Add(text, module = PtxModule.Parse(text));
        object[] values = arguments(module.Kernels.Single(kernel => kernel.Name == name));
        if (Recording is not null)
            Recording.Add(Run);
        else
            Run();

        void Run()
        {
            PtxRun run = new PtxMachine(Memory, seed: ++Launches) { Budget = 2_000_000_000 }.Launch(module, name, grid, block, sharedBytes, values);
            MatrixInstructions += run.MmaInstructions;
            if (run.DividedUniformBranches > 0)
                throw new InvalidOperationException($"{name}: a branch marked as uniform parted a warp.");
        }
    }

    /// <summary>Runs what was recorded.</summary>
    public static void LaunchGraph(List<Action> recorded)
    {
        GraphLaunches++;
        foreach (Action launch in recorded)
            launch();
    }

    private static (PtxBuffer Buffer, long Offset)? At(nint address)
    {
        foreach ((nint start, PtxBuffer buffer) in Buffers)
            if (address >= start && address < start + buffer.Bytes)
                return (buffer, address - start);
        return null;
    }
}
