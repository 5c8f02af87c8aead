using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace TpServe.Gateway.Reports.Measuring;

/// <summary>How fast this process reads memory: what a decode step, which reads every weight once, cannot exceed.</summary>
internal static unsafe class StreamingRead
{
    private const long Bytes = 512L << 20; // more than any cache
    private const int Tries = 4, Line = 256;

    /// <summary>Bytes per second of the best of a few reads of one large array, each thread its own part.</summary>
    public static double Measure(int threads)
    {
        long part = Bytes / threads / Line * Line;
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)(part * threads), Line);
        try
        {
            // Until it is written every page is the kernel's one page of zeros, which the caches hold. Each thread writes its own, to have it near.
            Run(threads, thread => new Span<byte>(memory + (thread * part), (int)part).Fill((byte)(thread + 1)));
            double best = 0;
            for (int i = 0; i < Tries; i++)
                best = Math.Max(best, part * threads / Run(threads, thread => Read(memory + (thread * part), part)));
            return best;
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    /// <summary>Runs the work on so many threads; seconds from when all were there until the last had done it.</summary>
    private static double Run(int threads, Action<int> work)
    {
        using Barrier ready = new(threads + 1);
        Thread[] all = [.. Enumerable.Range(0, threads).Select(thread => new Thread(() =>
        {
            ready.SignalAndWait();
            work(thread);
        }))];
        foreach (Thread thread in all)
            thread.Start();
        ready.SignalAndWait();
        long start = Stopwatch.GetTimestamp();
        foreach (Thread thread in all)
            thread.Join();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
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
}
