using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cpu;

/// <summary>Sleeping on a 32-bit word of this process: the kernel's futex on Linux, a monitor elsewhere.</summary>
/// <remarks>Threads   any. Wait may return although nobody woke it: callers test their condition again.</remarks>
internal static unsafe partial class Futex
{
    private const int WaitPrivate = 0 | 128;
    private const int WakePrivate = 1 | 128;
    private static readonly object Gate = new();
    private static readonly bool IsLinux = OperatingSystem.IsLinux();
    private static readonly nint SystemCall = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 202 : 98;

    /// <summary>Sleeps while the word holds <paramref name="expected"/>.</summary>
    public static void Wait(int* word, int expected)
    {
        if (IsLinux)
        {
            // Every outcome (woken, EAGAIN because the word moved, EINTR) means the same to the caller: look again.
            _ = Call(SystemCall, word, WaitPrivate, expected, null, null, 0);
            return;
        }
        lock (Gate)
        {
            if (Volatile.Read(ref *word) == expected)
                Monitor.Wait(Gate);
        }
    }

    /// <summary>Wakes everyone who sleeps on the word.</summary>
    public static void WakeAll(int* word)
    {
        if (IsLinux)
        {
            _ = Call(SystemCall, word, WakePrivate, int.MaxValue, null, null, 0);
            return;
        }
        lock (Gate)
            Monitor.PulseAll(Gate);
    }

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint Call(nint number, int* word, int operation, int value, void* timeout, void* word2, int value3);
}
