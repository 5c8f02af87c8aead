using System.Runtime.InteropServices;

namespace TpServe.Collectives.SharedMemory;

/// <summary>The kernel's wait queue behind a 32-bit word that several processes have mapped.</summary>
/// <remarks>
/// The private flag is not set: waiters and wakers are in different address spaces, and the kernel finds the queue by the page.
/// Source   man 2 futex; numbers from asm-generic/unistd.h (arm64) and arch/x86/entry/syscalls/syscall_64.tbl.
/// </remarks>
internal static unsafe partial class Futex
{
    private const int WaitOperation = 0;
    private const int WakeOperation = 1;
    private const int InterruptedError = 4;   // EINTR
    private const int ChangedError = 11;      // EAGAIN
    private const int TimedOutError = 110;    // ETIMEDOUT

    private static readonly nint s_number = RuntimeInformation.ProcessArchitecture switch
    {
        Architecture.X64 => 202,
        Architecture.Arm64 => 98,
        _ => throw new PlatformNotSupportedException($"Futex calls are not known for {RuntimeInformation.ProcessArchitecture}."),
    };

    /// <summary>Sleeps while *word is <paramref name="expected"/>, until woken, interrupted, or <paramref name="limit"/> has passed. The caller looks again in any case.</summary>
    public static void Wait(int* word, int expected, TimeSpan limit)
    {
        long nanoseconds = Math.Max(0, limit.Ticks) * TimeSpan.NanosecondsPerTick;
        TimeSpec relative = new() { Seconds = nanoseconds / 1_000_000_000, Nanoseconds = nanoseconds % 1_000_000_000 };
        // The word lies in a mapping that the caller keeps, and the time on this stack, for as long as the call lasts.
        Check(Call(s_number, word, WaitOperation, expected, &relative, null, 0));
    }

    /// <summary>Wakes everyone who sleeps on the word.</summary>
    public static void WakeAll(int* word) => Check(Call(s_number, word, WakeOperation, int.MaxValue, null, null, 0));

    private static void Check(nint result)
    {
        if (result >= 0)
            return;
        int error = Marshal.GetLastPInvokeError();
        if (error is not (InterruptedError or ChangedError or TimedOutError))
            throw new InvalidOperationException($"futex failed: {Marshal.GetPInvokeErrorMessage(error)} ({error}).");
    }

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint Call(nint number, int* word, nint operation, nint value, TimeSpec* timeout, int* word2, nint value3);

    /// <summary>struct timespec of 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }
}
