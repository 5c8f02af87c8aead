using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace TpServe.Gateway.Reports.Measuring;

/// <summary>How fast this process reads memory: what a decode step, which reads every weight once, cannot exceed.</summary>
internal static unsafe partial class StreamingRead
{
    private const long Bytes = 512L << 20; // more than any cache
    private const int LeastTries = 4, Line = 256;
    private const nuint HugePage = 2 << 20;
    private const int HugePageAdvice = 14; // MADV_HUGEPAGE
    private static readonly TimeSpan s_duration = TimeSpan.FromMilliseconds(400);

    /// <summary>Bytes per second of the best of a few reads of one large array, each thread its own part.</summary>
    public static double Measure(int threads)
    {
        long part = Bytes / threads / Line * Line;
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)(part * threads), HugePage);
        try
        {
            // Weights lie in huge pages where the system gives them; in small ones a read would be slower than theirs.
            if (OperatingSystem.IsLinux())
                _ = Advise(memory, (nuint)(part * threads) / HugePage * HugePage, HugePageAdvice);
            // Until it is written every page is the kernel's one page of zeros, which the caches hold. Each thread writes its own, to have it near.
            Run(threads, thread => new Span<byte>(memory + (thread * part), (int)part).Fill((byte)(thread + 1)));
            double best = 0;
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; i < LeastTries || Stopwatch.GetElapsedTime(start) < s_duration; i++)
                best = Math.Max(best, part * threads / Run(threads, thread => Read(memory + (thread * part), part)));
            return best;
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    /// <summary>Runs the work on so many threads; seconds from the first one's begin to the last one's end, by their own looks at the clock: who only waits for them may wake late.</summary>
    private static double Run(int threads, Action<int> work)
    {
        using Barrier ready = new(threads);
        (long Begin, long End)[] times = new (long, long)[threads];
        Thread[] all = [.. Enumerable.Range(0, threads).Select(thread => new Thread(() =>
        {
            ready.SignalAndWait();
            long begin = Stopwatch.GetTimestamp();
            work(thread);
            times[thread] = (begin, Stopwatch.GetTimestamp());
        }))];
        foreach (Thread thread in all)
            thread.Start();
        foreach (Thread thread in all)
            thread.Join();
        return Stopwatch.GetElapsedTime(times.Min(time => time.Begin), times.Max(time => time.End)).TotalSeconds;
    }

    // Safe: the caller owns [memory, memory + bytes), and bytes is a multiple of what a round reads.
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void Read(byte* memory, long bytes)
    {
        Vector512<int> a = default, b = default, c = default, d = default;
        for (byte* p = memory, end = memory + bytes; p < end; p += Line)
        {
            a |= Vector512.LoadAligned((int*)p);
            b |= Vector512.LoadAligned((int*)(p + 64));
            c |= Vector512.LoadAligned((int*)(p + 128));
            d |= Vector512.LoadAligned((int*)(p + 192));
        }
        Volatile.Write(ref s_sink, Vector512.Sum(a | b | c | d)); // so that the reads are not left out
    }

    private static int s_sink;

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);
}
