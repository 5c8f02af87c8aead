using System.Runtime.InteropServices;

namespace TpServe.Gateway.Commands.Terminal;

/// <summary>The controlling terminal, key by key until it is disposed, and then as it was before.</summary>
/// <remarks>
/// The console of .NET is not used for it: it waits for whole escape sequences by time, knows no pasted blocks and puts the terminal back when it likes.
/// Linux only; elsewhere there is none, and the chat reads lines.
/// </remarks>
internal sealed partial class RawTerminal : IDisposable
{
    // struct termios of glibc and musl, 60 bytes: c_oflag is its second word, OPOST the first bit of it.
    private const int ModeBytes = 256, OutputFlags = 4, PostProcess = 1;
    private const int ApplyDraining = 1, WindowSize = 0x5413;

    private readonly byte[] _before = new byte[ModeBytes], _raw = new byte[ModeBytes];
    private bool _isChanged;

    private RawTerminal()
    {
    }

    /// <summary>Opens it; null where input or output is not a terminal, or there is no such thing.</summary>
    public static RawTerminal? Open()
    {
        if (!OperatingSystem.IsLinux() || Console.IsInputRedirected || Console.IsOutputRedirected)
            return null;
        RawTerminal terminal = new();
        try
        {
            if (GetMode(0, terminal._before) != 0)
                return null;
            terminal._before.CopyTo(terminal._raw.AsSpan());
            MakeRaw(terminal._raw);
            terminal._raw[OutputFlags] = (byte)(terminal._raw[OutputFlags] | (terminal._before[OutputFlags] & PostProcess)); // \n still begins a line
            return terminal;
        }
        catch (Exception fault) when (fault is DllNotFoundException or EntryPointNotFoundException)
        {
            return null;
        }
    }

    /// <summary>Columns of the window.</summary>
    public static int Columns()
    {
        ushort[] size = new ushort[4];
        return Control(1, WindowSize, size) == 0 && size[1] > 0 ? size[1] : 80;
    }

    /// <summary>From here on keys come one by one and unseen, Ctrl-C among them, and pasted blocks are told apart.</summary>
    public void Begin()
    {
        if (_isChanged)
            return;
        Set(_raw);
        Console.Out.Write("\e[?2004h");
        Console.Out.Flush();
    }

    /// <summary>The terminal is as it was before.</summary>
    public void Dispose()
    {
        if (!_isChanged)
            return;
        Console.Out.Write("\e[?2004l");
        Console.Out.Flush();
        Set(_before);
        _isChanged = false;
    }

    private void Set(byte[] mode)
    {
        _isChanged = true;
        _ = SetMode(0, ApplyDraining, mode);
    }

    /// <summary>Waits for bytes; 0 at the end of input, and where none came within the timeout -1.</summary>
    /// <param name="buffer">Where they go.</param>
    /// <param name="timeout">Milliseconds; negative = as long as it takes.</param>
    public static int Read(byte[] buffer, int timeout)
    {
        PollEntry entry = new() { Descriptor = 0, Events = 1 };
        if (Poll(ref entry, 1, timeout) <= 0)
            return -1; // also where a signal came
        return (int)Math.Max(0, ReadBytes(0, buffer, (nuint)buffer.Length)); // a terminal that is gone is an end
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollEntry
    {
        public int Descriptor;
        public short Events, Happened;
    }

    [LibraryImport("libc", EntryPoint = "tcgetattr")]
    private static partial int GetMode(int descriptor, [Out] byte[] mode);

    [LibraryImport("libc", EntryPoint = "tcsetattr")]
    private static partial int SetMode(int descriptor, int when, [In] byte[] mode);

    [LibraryImport("libc", EntryPoint = "cfmakeraw")]
    private static partial void MakeRaw([In, Out] byte[] mode);

    [LibraryImport("libc", EntryPoint = "ioctl")]
    private static partial int Control(int descriptor, nuint request, [In, Out] ushort[] size);

    [LibraryImport("libc", EntryPoint = "poll")]
    private static partial int Poll(ref PollEntry entry, nuint count, int timeout);

    [LibraryImport("libc", EntryPoint = "read")]
    private static partial nint ReadBytes(int descriptor, [Out] byte[] buffer, nuint count);
}
