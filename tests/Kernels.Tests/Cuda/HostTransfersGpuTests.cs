using NUnit.Framework;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Driver;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Page-locked copies on a real GPU.</summary>
[Category("Gpu")]
public sealed class HostTransfersGpuTests
{
    [Test]
    public void UploadChunkedAndDownload_ManyPieces_MoveEveryByte()
    {
        if (!CudaDevices.HasGpu)
            Assert.Ignore("the machine has no GPU that the driver finds");
        using CudaContext context = CudaContext.Open(0);
        using CudaQueue queue = new(context);
        using HostTransfers transfers = new(queue);
        const int bytes = 5 * HostTransfers.PieceBytes + 12;
        using DeviceMemory memory = queue.Allocate(bytes);
        byte[] source = new byte[bytes], received = new byte[bytes];
        new Random(1).NextBytes(source);

        transfers.UploadChunked(bytes, memory, 0, (piece, from) => source.AsSpan((int)from, piece.Length).CopyTo(piece));
        transfers.Download(new Tensor(memory, 0, 1, bytes / 4, bytes / 4, ElementType.Float32), received);
        Assert.That(received.AsSpan().SequenceEqual(source));

        // The host overwrites its span at once, again and again: each upload arrived as it was.
        Tensor word = new(memory, 0, 1, 1, 1, ElementType.Int32), all = new(memory, 4096, 100, 1, 1, ElementType.Int32);
        byte[] value = new byte[4];
        for (int i = 0; i < 100; i++)
        {
            BitConverter.TryWriteBytes(value, i);
            transfers.Upload(value, all.RowSlice(i, 1));
            value.AsSpan().Fill(0xFF);
        }
        transfers.Upload(value, word);
        byte[] seen = new byte[400];
        transfers.Download(all, seen);
        Assert.That(seen, Is.EqualTo(Enumerable.Range(0, 100).SelectMany(BitConverter.GetBytes)));
    }
}
