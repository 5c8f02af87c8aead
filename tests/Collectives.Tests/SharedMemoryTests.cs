using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using TpServe.Collectives.SharedMemory;

namespace TpServe.Collectives.Tests;

[Platform("Linux"), SupportedOSPlatform("linux")]
public sealed class SharedMemoryTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    [Test]
    public void Join_Done_LeavesNoFile()
    {
        string prefix = TestGroup.UniquePrefix();
        using TestGroup group = TestGroup.Join(3, rank => SharedMemoryCommunicator.Join(prefix, rank, 3, s_timeout, 7));
        Assert.That(Files(prefix), Is.Empty);
        group.Run(end => end.Barrier());
        Assert.Multiple(() =>
        {
            Assert.That(group.Ends[0].Report.Transport, Is.EqualTo("shm"));
            Assert.That(group.Ends[0].Report.AllReduceMicroseconds, Is.GreaterThan(0));
            Assert.That(group.Ends[0].Epoch, Is.EqualTo(7));
        });
    }

    [Test]
    public void Join_PeerNeverComes_TimesOutAndLeavesNoFile()
    {
        string prefix = TestGroup.UniquePrefix();
        Assert.That(
            () => SharedMemoryCommunicator.Join(prefix, 0, 2, TimeSpan.FromMilliseconds(200), 1),
            Throws.InstanceOf<CollectiveTimeoutException>().With.Property(nameof(CollectiveTimeoutException.MissingRank)).EqualTo(1));
        Assert.That(Files(prefix), Is.Empty);
    }

    [Test]
    public void Room_OnAHostWithSharedMemory_IsForMoreThanOneAndLeavesNoFile()
    {
        (int segments, string fault) = SharedMemorySegments.Room();
        Assert.That((segments, fault), Is.EqualTo((segments, "")));
        Assert.That(segments, Is.GreaterThan(1));
        Assert.That(Files("tpserve-probe-"), Is.Empty);
    }

    [Test]
    public void Join_Cancelled_EndsAtOnce()
    {
        string prefix = TestGroup.UniquePrefix();
        using CancellationTokenSource source = new(TimeSpan.FromMilliseconds(100));
        long start = Stopwatch.GetTimestamp();
        Assert.That(() => SharedMemoryCommunicator.Join(prefix, 0, 2, s_timeout, 1, cancellation: source.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(TimeSpan.FromSeconds(5)));
        Assert.That(Files(prefix), Is.Empty);
    }

    [Test]
    public void Join_AnotherEpochUnderTheSameName_IsRefused()
    {
        string prefix = TestGroup.UniquePrefix();
        ICommunicator?[] ends = new ICommunicator?[2];
        Exception?[] faults = TestGroup.OnThreads(2, rank => ends[rank] = SharedMemoryCommunicator.Join(prefix, rank, 2, TimeSpan.FromSeconds(1), epoch: 1 + rank));
        Assert.That(faults, Is.All.InstanceOf<GroupLostException>());
        Assert.That(faults.OfType<TransportFailedException>().Select(f => f.Message), Has.Some.Contains("epoch"));
        Assert.That(Files(prefix), Is.Empty);
    }

    [Test]
    public void Join_StaleFilesInTheWay_AreReplaced()
    {
        string prefix = TestGroup.UniquePrefix();
        File.WriteAllText($"/dev/shm/{prefix}.0", "left by a crash");
        File.WriteAllText($"/dev/shm/{prefix}.1", "left by a crash");
        using TestGroup group = TestGroup.Join(2, rank => SharedMemoryCommunicator.Join(prefix, rank, 2, s_timeout, 1));
        group.Run(end => end.Barrier());
    }

    [Test]
    public void Join_LiveSegmentOfTheSameName_IsRefusedAndLeftAlone()
    {
        string prefix = TestGroup.UniquePrefix(), path = SharedMemorySegments.PathOf(prefix, 0);
        using (Segment.Create(path, 0, 2, 1, 4096))
        {
            Assert.That(() => SharedMemoryCommunicator.Join(prefix, 0, 2, s_timeout, 1), Throws.InstanceOf<TransportFailedException>().With.Message.Contains(path));
            Assert.That(File.Exists(path), Is.True);
        }
        SharedMemorySegments.RemoveStale();
        Assert.That(File.Exists(path), Is.False);
    }

    [Test]
    public void RemoveStale_WhatIsNoSegmentOrIsOpen_IsKept()
    {
        string prefix = TestGroup.UniquePrefix();
        string stale = $"/dev/shm/{prefix}.12", open = $"/dev/shm/{prefix}.0", other = $"/dev/shm/{prefix}.x";
        try
        {
            File.WriteAllText(stale, "");
            File.WriteAllText(other, "");
            using (Segment.Create(open, 0, 2, 1, 4096))
            {
                SharedMemorySegments.RemoveStale();
                Assert.That((File.Exists(stale), File.Exists(open), File.Exists(other)), Is.EqualTo((false, true, true)));
            }
        }
        finally
        {
            File.Delete(open);
            File.Delete(other);
        }
    }

    [Test]
    public void Segments_MadeWhileOthersSweep_AreNeverLost()
    {
        string prefix = TestGroup.UniquePrefix();
        using CancellationTokenSource done = new();
        Thread sweeper = new(() =>
        {
            while (!done.IsCancellationRequested)
                SharedMemorySegments.RemoveStale();
        });
        sweeper.Start();
        try
        {
            for (int i = 0; i < 200; i++)
            {
                string path = SharedMemorySegments.PathOf(prefix, i);
                using Segment segment = Segment.Create(path, 0, 2, 1, 4096);
                Assert.That(File.Exists(path), Is.True);
                File.Delete(path);
            }
        }
        finally
        {
            done.Cancel();
            sweeper.Join();
        }
    }

    [TestCase("")]
    [TestCase("../etc")]
    [TestCase("a/b")]
    [TestCase(".hidden")]
    [TestCase("sp ace")]
    public void Join_BadPrefix_IsRefused(string prefix) =>
        Assert.That(() => SharedMemoryCommunicator.Join(prefix, 0, 2, s_timeout, 1), Throws.InstanceOf<ArgumentException>());

    [Test]
    public void Segment_Created_IsReadableByItsUserAlone()
    {
        string path = SharedMemorySegments.PathOf(TestGroup.UniquePrefix(), 0);
        using Segment segment = Segment.Create(path, 0, 2, 1, 4096);
        UnixFileMode mode = OperatingSystem.IsWindows() ? default : File.GetUnixFileMode(path);
        File.Delete(path);
        Assert.That(mode, Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
    }

    [Test]
    public unsafe void Layout_OfWhatProcessesShare_IsAsTheKernelAndThePeersExpect()
    {
        Assert.Multiple(() =>
        {
            Assert.That(sizeof(Futex.TimeSpec), Is.EqualTo(16));
            Assert.That(Marshal.OffsetOf<Futex.TimeSpec>(nameof(Futex.TimeSpec.Nanoseconds)), Is.EqualTo((nint)8));
            Assert.That(sizeof(OperationHeader), Is.EqualTo(48));
            Assert.That(sizeof(OperationHeader), Is.LessThanOrEqualTo(SegmentLayout.SlotLengthAt));
            Assert.That(SegmentLayout.ReasonAt + SegmentLayout.ReasonBytes, Is.LessThanOrEqualTo(SegmentLayout.ControlBytes));
            Assert.That(SegmentLayout.SlotAt(1, 4096) % SegmentLayout.CacheLine, Is.Zero);
        });
    }

    [Test]
    public unsafe void Counters_BeforeAndAfterTheyWrap_StillOrderRounds()
    {
        const int nearTheEnd = int.MaxValue - 25;
        string prefix = TestGroup.UniquePrefix();
        Segment[][] segments = [new Segment[2], new Segment[2]];
        for (int rank = 0; rank < 2; rank++)
        {
            segments[rank][rank] = Segment.Create(SharedMemorySegments.PathOf(prefix, rank), rank, 2, 1, 4096);
            *(int*)(segments[rank][rank].Address + SegmentLayout.PublishedAt) = nearTheEnd;
            *(int*)(segments[rank][rank].Address + SegmentLayout.ClosedAt) = nearTheEnd;
        }
        for (int rank = 0; rank < 2; rank++)
            segments[rank][1 - rank] = Segment.TryOpen(SharedMemorySegments.PathOf(prefix, 1 - rank), 1 - rank, 2, 1, 4096)!;
        for (int rank = 0; rank < 2; rank++)
            File.Delete(SharedMemorySegments.PathOf(prefix, rank));

        CommunicatorReport report = new("shm", "a test", 0);
        using TestGroup group = TestGroup.Join(2, rank =>
            new GroupCommunicator(new SharedMemoryExchange(segments[rank], rank, 4096), rank, 2, s_timeout, 1, report));
        group.Run(end =>
        {
            using Matrix x = new(1, 1);
            for (int i = 0; i < 100; i++)
            {
                x.Floats[0] = end.Rank == i % 2 ? i + 1 : 0;
                end.SumDisjoint(x.View);
                Assert.That(x.Floats[0], Is.EqualTo(i + 1));
            }
            Assert.That(*(int*)(segments[end.Rank][end.Rank].Address + SegmentLayout.PublishedAt), Is.Negative, "the counters did not wrap");
        });
    }

    private static string[] Files(string prefix) => Directory.GetFiles("/dev/shm", prefix + "*");
}
