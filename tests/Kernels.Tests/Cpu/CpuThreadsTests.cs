using NUnit.Framework;
using TpServe.Kernels.Cpu;

namespace TpServe.Kernels.Tests.Cpu;

[TestFixture]
public sealed class CpuThreadsTests
{
    [TestCase(1, 1, 1)]
    [TestCase(1, 100, 7)]
    [TestCase(2, 1, 1)]
    [TestCase(2, 1000, 1)]
    [TestCase(3, 1000, 7)]
    [TestCase(5, 64, 64)]
    public void Run_AnyCounts_EveryItemOnce(int threads, int items, int grain)
    {
        using CpuThreads pool = new(threads);
        for (int round = 0; round < 50; round++)
        {
            CountWork work = new(new int[items], threads);
            pool.Run(ref work, items, grain);
            Assert.That(work.Counts, Is.All.EqualTo(1));
        }
    }

    [Test]
    public void Run_HelpersAsleepOrSpinning_EveryJobIsWhole()
    {
        using CpuThreads pool = new(3);
        SumWork work = default;
        for (int round = 0; round < 20_000; round++)
            pool.Run(ref work, 10, 1);
        Assert.That(work.Sum, Is.EqualTo(20_000L * 45));
    }

    [Test]
    public void Run_WorkThrows_CallerSeesItAndThePoolLives()
    {
        using CpuThreads pool = new(2);
        for (int failing = 0; failing < 64; failing++)
        {
            ThrowingWork bad = new(failing);
            Assert.That(() => pool.Run(ref bad, 64, 1), Throws.InstanceOf<InvalidDataException>().With.Message.EqualTo($"item {failing}"));
            CountWork good = new(new int[64], 2);
            pool.Run(ref good, 64, 1);
            Assert.That(good.Counts, Is.All.EqualTo(1));
        }
    }

    [Test]
    public void Run_AfterWarmUp_AllocatesNothing()
    {
        using CpuThreads pool = new(2);
        SumWork work = default;
        pool.Run(ref work, 10, 1);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
            pool.Run(ref work, 10, 1);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    [Test]
    public void Run_AfterDispose_Throws()
    {
        CpuThreads pool = new(2);
        pool.Dispose();
        pool.Dispose();
        SumWork work = default;
        Assert.That(() => pool.Run(ref work, 10, 1), Throws.InstanceOf<ObjectDisposedException>());
    }

    private struct CountWork(int[] counts, int threads) : IParallelWork
    {
        public readonly int[] Counts => counts;

        public readonly void Execute(int first, int end, int thread)
        {
            if ((uint)thread >= (uint)threads)
                throw new InvalidOperationException($"thread {thread} of {threads}");
            for (int i = first; i < end; i++)
                Interlocked.Increment(ref counts[i]);
        }
    }

    private struct SumWork : IParallelWork
    {
        public long Sum;

        public void Execute(int first, int end, int thread)
        {
            for (int i = first; i < end; i++)
                Interlocked.Add(ref Sum, i);
        }
    }

    private struct ThrowingWork(int failing) : IParallelWork
    {
        public readonly void Execute(int first, int end, int thread)
        {
            if (failing >= first && failing < end)
                throw new InvalidDataException($"item {failing}");
        }
    }
}
