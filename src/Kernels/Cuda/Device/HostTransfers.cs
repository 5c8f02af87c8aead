namespace TpServe.Kernels.Cuda.Device;

/// <summary>Copies between host and device on the backend's stream, through page-locked memory of its own.</summary>
/// <remarks>
/// An upload has read its source when it returns and is enqueued like a kernel; only a download waits for the stream.
/// Threads   the rank's thread.
/// Errors    InvalidOperationException while the stream is recorded: a replay would copy what the host held then.
/// </remarks>
internal sealed class HostTransfers : IDisposable
{
    /// <summary>Largest piece of <see cref="UploadChunked"/>.</summary>
    public const int PieceBytes = 8 << 20;

    // The integers of a step take a few copies of some kilobytes; block tables of many long sequences a megabyte.
    private const int StepSlots = 8;
    private const int StepSlotBytes = 256 << 10;
    private readonly CudaQueue _queue;
    private readonly IHostCopies _copies;
    private readonly StagingRing _step;
    private readonly StagingRing _pieces;

    /// <summary>Transfers of a backend.</summary>
    public HostTransfers(CudaQueue queue) : this(queue, queue.IsEmulated ? new EmulatedHostCopies() : new CudaHostCopies(queue))
    {
    }

    /// <summary>Transfers by other means; takes them over.</summary>
    internal HostTransfers(CudaQueue queue, IHostCopies copies)
    {
        _queue = queue;
        _copies = copies;
        _step = new StagingRing(copies, StepSlots, StepSlotBytes, sleeping: false);
        _pieces = new StagingRing(copies, slots: 2, PieceBytes, sleeping: true);
    }

    /// <summary>Page-locked host memory; on the emulated device ordinary memory. Freed with the backend.</summary>
    public HostBuffer AllocatePinned(long bytes) => _copies.AllocateHost(bytes);

    /// <summary>Copies the bytes over a contiguous tensor; they may be reused on return.</summary>
    public void Upload(ReadOnlySpan<byte> source, Tensor destination)
    {
        CheckExtent(destination, source.Length);
        _queue.ForbidRecording("an upload");
        DeviceMemory memory = DeviceViews.Memory(destination);
        for (int done = 0; done < source.Length;)
        {
            int bytes = Math.Min(source.Length - done, _step.SlotBytes);
            source.Slice(done, bytes).CopyTo(_step.Take());
            _step.Send(memory, destination.OffsetBytes + done, bytes);
            done += bytes;
        }
    }

    /// <summary>Fills device memory from a stream of bytes that is made piece by piece: while one piece is made, the one before is copied.</summary>
    /// <param name="bytes">Length of the stream.</param>
    /// <param name="destination">Where it goes.</param>
    /// <param name="offset">The stream's first byte in the destination.</param>
    /// <param name="fill">Writes all bytes of the span, which are the stream's from the given position on; called in ascending order.</param>
    /// <param name="granule">Every piece but the last is a multiple of so many bytes, at most <see cref="PieceBytes"/>.</param>
    public void UploadChunked(long bytes, DeviceMemory destination, long offset, Action<Span<byte>, long> fill, int granule = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(granule);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(granule, PieceBytes);
        Require.That(offset >= 0 && offset + bytes <= destination.Bytes, $"{bytes} bytes from {offset} reach beyond a buffer of {destination.Bytes} bytes.");
        _queue.ForbidRecording("an upload");
        int most = PieceBytes / granule * granule;
        for (long done = 0; done < bytes;)
        {
            int piece = (int)Math.Min(bytes - done, most);
            fill(_pieces.Take()[..piece], done);
            _pieces.Send(destination, offset + done, piece);
            done += piece;
        }
    }

    /// <summary>Waits for everything enqueued, then copies a contiguous tensor to the host.</summary>
    public void Download(Tensor source, Span<byte> destination)
    {
        CheckExtent(source, destination.Length);
        _queue.ForbidRecording("a download");
        if (destination.IsEmpty)
        {
            _queue.Synchronize();
            return;
        }
        DeviceMemory memory = DeviceViews.Memory(source);
        Span<int> slots = stackalloc int[StepSlots];
        int size = _step.SlotBytes, pieces = (destination.Length + size - 1) / size;
        for (int enqueued = 0, received = 0; received < pieces; received++)
        {
            // All slots are on their way while the first of them is emptied.
            for (; enqueued < Math.Min(pieces, received + StepSlots); enqueued++)
            {
                _step.Take();
                slots[enqueued % StepSlots] = _step.Receive(memory, source.OffsetBytes + (long)enqueued * size, Math.Min(size, destination.Length - enqueued * size));
            }
            Span<byte> piece = destination.Slice(received * size, Math.Min(size, destination.Length - received * size));
            _step.Received(slots[received % StepSlots], piece.Length).CopyTo(piece);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _step.Dispose();
        _pieces.Dispose();
        _copies.Dispose();
    }

    private static void CheckExtent(Tensor tensor, long hostBytes)
    {
        Require.Contiguous(tensor);
        long bytes = (long)tensor.Rows * tensor.Columns * tensor.Type.SizeBytes();
        Require.That(bytes == hostBytes, $"{hostBytes} bytes on the host are not {tensor}.");
    }
}
