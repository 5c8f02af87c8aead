using System.Diagnostics;
using TpServe.Collectives.SharedMemory;

namespace TpServe.Collectives.Tests;

/// <summary>Ranks in processes of their own, one of which is killed.</summary>
[Category("MultiProcess")]
[Platform("Linux")]
public sealed class ProcessTests
{
    private static readonly TimeSpan s_join = TimeSpan.FromSeconds(30);

    [Test]
    public void Shm_ProcessKilled_PeersAreToldWithinTheDeadlineAndNoFileStays()
    {
        TimeSpan timeout = TimeSpan.FromSeconds(5);
        string prefix = TestGroup.UniquePrefix();
        using ChildRank first = new("shm", prefix, 1, 3, timeout, 1), second = new("shm", prefix, 2, 3, timeout, 1);
        Assert.That(first.ReadLine(), Is.EqualTo("started")); // from here on joining takes no longer than an operation may
        Assert.That(second.ReadLine(), Is.EqualTo("started"));
        using ICommunicator end = SharedMemoryCommunicator.Join(prefix, 0, 3, timeout, 1);
        Assert.That(first.ReadLine(), Is.EqualTo("joined"));
        Assert.That(second.ReadLine(), Is.EqualTo("joined"));
        Assert.That(Directory.GetFiles("/dev/shm", prefix + "*"), Is.Empty);
        for (int i = 0; i < 100; i++)
            end.Barrier();

        second.Kill();
        long start = Stopwatch.GetTimestamp();
        Assert.That(() => BarrierUntilLost(end), Throws.InstanceOf<GroupLostException>());
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(timeout + TimeSpan.FromSeconds(5)));
        Assert.That(first.ReadLine(), Is.EqualTo(nameof(RevokedException)).Or.EqualTo(nameof(CollectiveTimeoutException)));
        Assert.That(first.WaitForExit(), Is.EqualTo(3));
        Assert.That(Directory.GetFiles("/dev/shm", prefix + "*"), Is.Empty);
    }

    [Test]
    public void Shm_ProcessKilledWhileJoining_LeavesOnlyWhatTheSweepRemoves()
    {
        string prefix = TestGroup.UniquePrefix(), path = SharedMemorySegments.PathOf(prefix, 1);
        using (ChildRank child = new("shm", prefix, 1, 2, s_join, 1))
        {
            using FileSystemWatcher watcher = new("/dev/shm", Path.GetFileName(path));
            using ManualResetEventSlim seen = new();
            watcher.Created += (_, _) => seen.Set();
            watcher.EnableRaisingEvents = true;
            Assert.That(File.Exists(path) || seen.Wait(s_join), Is.True, "the child made no segment");
            child.Kill();
        }
        SharedMemorySegments.RemoveStale();
        Assert.That(Directory.GetFiles("/dev/shm", prefix + "*"), Is.Empty);
    }

    [Test]
    public void Ring_ProcessKilled_PeersAreToldLongBeforeTheDeadline()
    {
        TimeSpan timeout = TimeSpan.FromSeconds(30);
        string folder = Directory.CreateTempSubdirectory("tpserve-ring-").FullName;
        try
        {
            using ChildRank first = new("ring", folder, 1, 3, timeout, 1), second = new("ring", folder, 2, 3, timeout, 1);
            Assert.That(first.ReadLine(), Is.EqualTo("started"));
            Assert.That(second.ReadLine(), Is.EqualTo("started"));
            using RingHosts host = RingHosts.OfOneRank(folder, 0, 3);
            using ICommunicator end = host.Join(0, 3, timeout, 1);
            Assert.That(first.ReadLine(), Is.EqualTo("joined"));
            Assert.That(second.ReadLine(), Is.EqualTo("joined"));
            for (int i = 0; i < 100; i++)
                end.Barrier();

            second.Kill();
            long start = Stopwatch.GetTimestamp();
            Assert.That(() => BarrierUntilLost(end), Throws.InstanceOf<RevokedException>());
            Assert.That(first.ReadLine(), Is.EqualTo(nameof(RevokedException)));
            Assert.That(first.WaitForExit(), Is.EqualTo(3));
            Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(timeout / 2));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void BarrierUntilLost(ICommunicator end)
    {
        for (int i = 0; i < 100_000_000; i++)
            end.Barrier();
    }
}
