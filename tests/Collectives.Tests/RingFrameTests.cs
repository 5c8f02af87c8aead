using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TpServe.Collectives.Ring;
using TpServe.Kernels;

namespace TpServe.Collectives.Tests;

/// <summary>What a rank makes of frames that are late, cut, wrong or hostile: a typed error, in time, without allocating what they claim.</summary>
public sealed class RingFrameTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan s_short = TimeSpan.FromMilliseconds(150);
    private static readonly TimeSpan s_atOnce = TimeSpan.FromSeconds(10);

    [Test]
    public void Frame_Head_Is64BytesWithFieldsInPlace()
    {
        RingFrame frame = new(RingFrame.Block, 2, 3, new OperationHeader(4, 5, 6, 7, CollectiveOperation.Gather, 8, 9));
        byte[] bytes = RingPeer.Bytes(frame);
        Assert.Multiple(() =>
        {
            Assert.That(Unsafe.SizeOf<RingFrame>(), Is.EqualTo(64));
            Assert.That(bytes[..4], Is.EqualTo("TPBK"u8.ToArray()));
            Assert.That(MemoryMarshal.Cast<byte, int>(bytes)[1], Is.EqualTo(2));
            Assert.That(MemoryMarshal.Cast<byte, long>(bytes)[1..6].ToArray(), Is.EqualTo(new long[] { 3, 4, 5, 6, 7 }));
            Assert.That(MemoryMarshal.Cast<byte, int>(bytes)[12..15].ToArray(), Is.EqualTo(new[] { 4, 8, 9 }));
        });
    }

    [Test]
    public void Frame_InPiecesOfAnySize_IsTaken([Range(0, 9)] int seed)
    {
        Random random = new(seed);
        using RingPeer peer = new(s_long);
        int columns = random.Next(1, 900);
        int[] firsts = [0, 1, 1 + columns], mine = [-7];
        int[] theirs = [.. Enumerable.Range(0, columns).Select(_ => random.Next())];
        ulong fingerprint = Fingerprint.Empty.With((int)ElementType.Int32).With(firsts);
        RingFrame frame = new(RingFrame.Block, columns * sizeof(int), 1, new OperationHeader(peer.Epoch, 0, 1, fingerprint, CollectiveOperation.AllGather, 1, 1 + columns));
        byte[] bytes = [.. RingPeer.Bytes(frame), .. MemoryMarshal.AsBytes(theirs.AsSpan()), .. RingPeer.Bytes(peer.BarrierFrame(2))];
        using Matrix x = new(1, 1, ElementType.Int32), y = new(1, 1 + columns, ElementType.Int32);
        mine.CopyTo(x.Ints);
        Exception?[] faults = TestGroup.OnThreads(2, thread =>
        {
            if (thread == 0)
            {
                peer.End.AllGather(x.View, firsts, y.View);
                peer.End.Barrier();
                return;
            }
            for (int sent = 0; sent < bytes.Length;)
            {
                int count = Math.Min(random.Next(1, 200), bytes.Length - sent);
                peer.Write(bytes.AsSpan(sent, count));
                sent += count;
            }
        });
        Assert.That(faults, Is.All.Null);
        Assert.That(y.Ints.ToArray(), Is.EqualTo((int[])[.. mine, .. theirs]));
    }

    [Test]
    public void Frame_AnyBitFlipped_IsATypedError([Range(0, 59)] int place)
    {
        using RingPeer peer = new(s_long);
        byte[] bytes = RingPeer.Bytes(peer.BarrierFrame(1));
        bytes[place] ^= (byte)(1 << new Random(place).Next(8));
        peer.Write(bytes);
        AssertLost(peer);
    }

    [Test]
    public void Stream_Noise_IsATypedError([Range(0, 19)] int seed)
    {
        Random random = new(seed);
        using RingPeer peer = new(s_long);
        byte[] noise = new byte[random.Next(RingFrame.HeadBytes, 5000)];
        random.NextBytes(noise);
        peer.Write(noise);
        AssertLost(peer);
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(63)]
    public void Frame_CutByTheEndOfTheStream_EndsTheGroupAtOnce(int bytes)
    {
        using RingPeer peer = new(s_long);
        peer.Write(RingPeer.Bytes(peer.BarrierFrame(1)).AsSpan(0, bytes));
        peer.Hang();
        Assert.That(AssertLost(peer), Is.InstanceOf<RevokedException>().With.Message.Contains("its stream broke"));
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(63)]
    public void Frame_RestNeverComes_TimesOut(int bytes)
    {
        using RingPeer peer = new(s_short);
        peer.Write(RingPeer.Bytes(peer.BarrierFrame(1)).AsSpan(0, bytes));
        Assert.That(AssertLost(peer), Is.InstanceOf<CollectiveTimeoutException>());
    }

    [TestCase(1)]
    [TestCase(RingPeer.BlockBytes)]
    [TestCase(int.MaxValue)]
    [TestCase(-1)]
    [TestCase(int.MinValue)]
    public void Frame_ClaimsAnotherLength_IsRefusedAndNothingIsAllocated(int claimed)
    {
        using RingPeer warm = new(s_long), peer = new(s_long);
        warm.Write(RingPeer.Bytes(warm.BarrierFrame(1) with { Bytes = 3 }));
        AssertLost(warm); // whatever the first exception of its kind costs
        peer.Write(RingPeer.Bytes(peer.BarrierFrame(1) with { Bytes = claimed }));
        long before = GC.GetTotalAllocatedBytes(precise: true);
        Assert.That(AssertLost(peer), Is.InstanceOf<CollectiveMismatchException>().With.Message.Contains($"sent {claimed}"));
        Assert.That(GC.GetTotalAllocatedBytes(precise: true) - before, Is.LessThan(1 << 20));
    }

    [Test]
    public void Frames_OutOfOrder_AreAMismatch([Values(0, 2, 3, -1, long.MaxValue)] long round)
    {
        using RingPeer peer = new(s_long);
        peer.Write(RingPeer.Bytes(peer.BarrierFrame(1) with { Round = round }));
        Assert.That(AssertLost(peer), Is.InstanceOf<CollectiveMismatchException>());
    }

    [Test]
    public void Frames_OneTwice_AreAMismatch()
    {
        using RingPeer peer = new(s_long);
        byte[] frame = RingPeer.Bytes(peer.BarrierFrame(1));
        peer.Write(frame);
        peer.Write(frame);
        peer.End.Barrier();
        Assert.That(AssertLost(peer), Is.InstanceOf<CollectiveMismatchException>());
    }

    [Test]
    public void Goodbye_BeforeTheBlock_SaysWhoLeft()
    {
        using RingPeer peer = new(s_long);
        peer.Write(RingPeer.Bytes(new RingFrame(RingFrame.Goodbye, 0, 0, default)));
        peer.Hang();
        Assert.That(AssertLost(peer), Is.InstanceOf<RevokedException>().With.Message.Contains("it left the group"));
    }

    [Test]
    public void Frames_ArrivedBeforeThePeerDied_AreStillTaken()
    {
        using RingPeer peer = new(s_long);
        for (int sequence = 1; sequence <= 3; sequence++)
            peer.Write(RingPeer.Bytes(peer.BarrierFrame(sequence)));
        peer.Hang();
        for (int sequence = 1; sequence <= 3; sequence++)
            peer.End.Barrier();
        AssertLost(peer);
    }

    [TestCase(1, 576)]
    [TestCase(1000, 577)]
    public void Operations_AfterTheFirst_AllocateNothing(int rows, int columns)
    {
        using TestGroup group = TestGroup.Create("ring", 2);
        group.Run(end =>
        {
            using Matrix x = new(rows, columns), y = new(rows, 2 * columns);
            int[] firsts = [0, columns, 2 * columns];
            for (int i = 0; i < 20; i++)
                Operations();
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 20; i++)
                Operations();
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);

            void Operations()
            {
                end.SumDisjoint(x.View);
                end.AllGather(x.View, firsts, y.View);
                end.Broadcast(x.View, 1);
            }
        });
    }

    private static GroupLostException AssertLost(RingPeer peer)
    {
        long start = Stopwatch.GetTimestamp();
        GroupLostException? fault = Assert.Catch<GroupLostException>(peer.End.Barrier);
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(s_atOnce));
        return fault!;
    }
}
