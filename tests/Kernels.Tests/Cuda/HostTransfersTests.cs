using NUnit.Framework;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Copies between host and device: what is in flight is never overwritten, and only what must wait does.</summary>
public sealed class HostTransfersTests
{
    private const int Slot = 256 << 10;
    private CudaContext _context = null!;
    private CudaQueue _queue = null!;
    private DelayedCopies _copies = null!;
    private HostTransfers _transfers = null!;

    [OneTimeSetUp]
    public void OpenDevice()
    {
        _context = CudaContext.Emulated();
        _queue = new CudaQueue(_context);
    }

    [OneTimeTearDown]
    public void CloseDevice()
    {
        _queue.Dispose();
        _context.Dispose();
    }

    [SetUp]
    public void OpenTransfers() => _transfers = new HostTransfers(_queue, _copies = new DelayedCopies());

    [TearDown]
    public void CloseTransfers()
    {
        _queue.IsRecording = false;
        _transfers.Dispose();
    }

    [Test]
    public void Upload_SourceReusedAtOnce_ArrivesAsItWas()
    {
        using DeviceMemory memory = _queue.Allocate(64);
        byte[] source = Bytes(40, seed: 1), sent = [.. source];
        _transfers.Upload(source, new Tensor(memory, 8, 1, 10, 10, ElementType.Float32));
        Array.Clear(source);
        Assert.That(_copies.Pending, Is.GreaterThan(0), "nothing waited");
        _copies.Flush();
        Assert.That(Content(memory), Is.EqualTo((byte[])[.. new byte[8], .. sent, .. new byte[16]]));
    }

    [TestCase(Slot)]
    [TestCase(Slot + 4)]
    [TestCase(19 * Slot + 12)] // more slots than the ring has
    public void UploadAndDownload_AnyLength_MoveEveryByte(int bytes)
    {
        using DeviceMemory memory = _queue.Allocate(bytes);
        Tensor tensor = new(memory, 0, 1, bytes / 4, bytes / 4, ElementType.Float32);
        byte[] source = Bytes(bytes, seed: 2), received = new byte[bytes];
        _transfers.Upload(source, tensor);
        _transfers.Download(tensor, received);
        Assert.That(received.AsSpan().SequenceEqual(source));
    }

    [Test]
    public void Upload_RingGoesRound_WaitsOnlyForTheOldestSlot()
    {
        using DeviceMemory memory = _queue.Allocate(4 * 20);
        for (int i = 0; i < 20; i++)
            _transfers.Upload(BitConverter.GetBytes(i), new Tensor(memory, 4 * i, 1, 1, 1, ElementType.Int32));
        Assert.That(_copies.Pending, Is.EqualTo(8), "one copy for each slot");
        _copies.Flush();
        Assert.That(Content(memory), Is.EqualTo(Enumerable.Range(0, 20).SelectMany(BitConverter.GetBytes)));
    }

    [TestCase(1, 1)]
    [TestCase(HostTransfers.PieceBytes, 1)]
    [TestCase(3 * HostTransfers.PieceBytes + 17, 1)]
    [TestCase(3 * HostTransfers.PieceBytes + 17, 3 << 20)]
    public void UploadChunked_AnyLength_FillsInOrderAndMovesEveryByte(int bytes, int granule)
    {
        using DeviceMemory memory = _queue.Allocate(bytes + 5);
        byte[] source = Bytes(bytes, seed: 3);
        long expected = 0;
        _transfers.UploadChunked(bytes, memory, 5, (piece, from) =>
        {
            Assert.That(from, Is.EqualTo(expected));
            Assert.That(from + piece.Length == bytes || piece.Length % granule == 0);
            source.AsSpan((int)from, piece.Length).CopyTo(piece);
            expected += piece.Length;
        }, granule);
        _copies.Flush();
        Assert.That(expected, Is.EqualTo(bytes));
        Assert.That(Content(memory).AsSpan(5).SequenceEqual(source));
    }

    [Test]
    public void UploadChunked_BeyondTheBuffer_IsRefused()
    {
        using DeviceMemory memory = _queue.Allocate(100);
        Assert.That(() => _transfers.UploadChunked(90, memory, 11, (_, _) => { }), Throws.ArgumentException.With.Message.Contains("90 bytes from 11"));
    }

    [Test]
    public void Transfer_ShapeAndLengthDisagree_IsRefused()
    {
        using DeviceMemory memory = _queue.Allocate(100);
        Tensor strided = new(memory, 0, 2, 3, 4, ElementType.Float32), whole = new(memory, 0, 2, 3, 3, ElementType.Float32);
        Assert.That(() => _transfers.Upload(new byte[24], strided), Throws.ArgumentException.With.Message.Contains("contiguous"));
        Assert.That(() => _transfers.Upload(new byte[23], whole), Throws.ArgumentException.With.Message.Contains("23 bytes on the host"));
        Assert.That(() => _transfers.Download(whole, new byte[25]), Throws.ArgumentException.With.Message.Contains("25 bytes on the host"));
        using HostBuffer host = new(24);
        Assert.That(() => _transfers.Upload(new byte[24], new Tensor(host, 0, 2, 3, 3, ElementType.Float32)), Throws.ArgumentException.With.Message.Contains("not on this device"));
    }

    [Test]
    public void Transfer_WhileTheStreamIsRecorded_IsRefused()
    {
        using DeviceMemory memory = _queue.Allocate(4);
        Tensor tensor = new(memory, 0, 1, 1, 1, ElementType.Int32);
        _queue.IsRecording = true;
        Assert.That(() => _transfers.Upload(new byte[4], tensor), Throws.InvalidOperationException.With.Message.Contains("an upload"));
        Assert.That(() => _transfers.Download(tensor, new byte[4]), Throws.InvalidOperationException.With.Message.Contains("a download"));
        Assert.That(() => _transfers.UploadChunked(4, memory, 0, (_, _) => { }), Throws.InvalidOperationException);
        Assert.That(() => _queue.Allocate(4), Throws.InvalidOperationException);
        Assert.That(_queue.Synchronize, Throws.InvalidOperationException);
    }

    private static byte[] Bytes(int count, int seed)
    {
        byte[] bytes = new byte[count];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static unsafe byte[] Content(DeviceMemory memory) => new ReadOnlySpan<byte>((void*)memory.Address, (int)memory.Bytes).ToArray();
}
