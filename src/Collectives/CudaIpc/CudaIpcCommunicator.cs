using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Sharding;

namespace TpServe.Collectives.CudaIpc;

/// <summary>The contract's operations as kernels on the rank's stream, which meet their peers' in device memory; <see cref="IpcLayout"/> has the protocol.</summary>
/// <remarks>
/// An operation returns once it is enqueued, and <see cref="Barrier"/> when it ran. What the device met since is thrown by the next call of any kind,
/// at the latest by <see cref="ThrowIfLost"/> after a download: what was downloaded is right where that does not throw.
/// The step is not part of what the ranks compare: a recorded kernel could not know it.
/// Threads  as <see cref="ICommunicator"/>.
/// </remarks>
internal sealed unsafe class CudaIpcCommunicator : ICommunicator
{
    private const int OperationMask = 7; // of a signature's bits; operations are numbered from 1 to 6
    private const int MostElements = 1 << 30; // so that a kernel's indices, rounded up for the channels, stay below 2^31

    private readonly Lock _busy = new();
    private readonly CudaBackend _ops;
    private readonly IIpcMemory _memory;
    private readonly IpcTables _tables;
    private readonly IpcSumKernel _sum;
    private readonly IpcMoveKernel _move;
    private readonly SumSchedule _onePieceEach;
    private readonly int[] _all;
    private readonly int[] _rootFirsts;
    private readonly ulong _groupFingerprint;
    private IpcView _view;
    private long _elapsedSeen;
    private string? _lost;
    private volatile string? _revoked;
    private bool _disposed;

    /// <summary>Takes the memory over: disposes it. The backend outlives this.</summary>
    public CudaIpcCommunicator(CudaBackend ops, IIpcMemory memory, int rank, int degree, TimeSpan timeout, long epoch)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(degree, Math.Min(IpcLayout.MostRanks, memory.Tuning.Threads));
        _ops = ops;
        _memory = memory;
        _tables = new IpcTables(ops);
        _sum = new IpcSumKernel(ops.Queue);
        _move = new IpcMoveKernel(ops.Queue);
        _onePieceEach = SumSchedule.OnePieceEach(degree);
        _all = new int[degree + 1];
        _rootFirsts = new int[degree + 1];
        _groupFingerprint = Fingerprint.Empty.With((int)epoch).With(degree).With(memory.Tuning.Channels).With(memory.Tuning.HalfWords)
            .With(memory.Tuning.ChannelBytes).With((int)memory.Tuning.TwoShotBytes);
        Rank = rank;
        Degree = degree;
        Epoch = epoch;
        Report = new CommunicatorReport("cuda-ipc", "every rank's GPU reads its peers' memory", 0);
        long[] segments = [.. Enumerable.Range(0, degree).Select(memory.Segment)];
        _view = new IpcView
        {
            Table = _tables.Of(segments.AsSpan()),
            State = memory.State,
            Host = memory.HostOnDevice,
            DataAt = IpcLayout.DataAt(memory.Tuning.Channels),
            TimeoutNanoseconds = (long)timeout.TotalNanoseconds,
            Rank = rank,
            Degree = degree,
            HalfWords = memory.Tuning.HalfWords,
        };
    }

    /// <inheritdoc/>
    public int Rank { get; }

    /// <inheritdoc/>
    public int Degree { get; }

    /// <inheritdoc/>
    public long Epoch { get; }

    /// <inheritdoc/>
    public CommunicatorReport Report { get; internal set; }

    /// <inheritdoc/>
    public bool IsEnqueued => true;

    /// <summary>How long an operation enqueued from now on waits for its peers.</summary>
    public TimeSpan Timeout
    {
        get => TimeSpan.FromMicroseconds(_view.TimeoutNanoseconds / 1e3);
        set => _view.TimeoutNanoseconds = (long)value.TotalNanoseconds;
    }

    /// <summary>What kernels need of the group, for the proof's own.</summary>
    internal IpcView View => _view with { Signature = (int)_groupFingerprint };

    /// <summary>Time the device spent in operations, waiting included, as far as they have run.</summary>
    public TimeSpan TakeElapsed()
    {
        using Lock.Scope busy = _busy.EnterScope();
        if (_disposed)
            return TimeSpan.Zero;
        long total = Volatile.Read(ref *(long*)(_memory.Host + IpcLayout.HostElapsedAt)), elapsed = total - _elapsedSeen;
        _elapsedSeen = total;
        return TimeSpan.FromMicroseconds(elapsed / 1e3);
    }

    /// <inheritdoc/>
    public void BeginStep(long step) => ThrowIfLost();

    /// <inheritdoc/>
    public void SumTree(Tensor pieces, LeafShare share, Tensor y)
    {
        Operands.CheckSum(pieces, share, y, Rank, Degree);
        Sum(CollectiveOperation.SumTree, SumSchedule.Of(share), pieces, y, or: false);
    }

    /// <inheritdoc/>
    public void SumDisjoint(Tensor x)
    {
        Operands.CheckWords(x, nameof(x));
        Sum(CollectiveOperation.SumDisjoint, _onePieceEach, x, x, or: true);
    }

    /// <inheritdoc/>
    public void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        Operands.CheckGather(x, firsts, y, Rank, Degree, reads: true);
        Move(CollectiveOperation.AllGather, x, firsts, y, reads: true, inPlace: false);
    }

    /// <summary>As the contract says; on the device every rank waits for every other, the host for none.</summary>
    public void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        Operands.CheckGather(x, firsts, y, Rank, Degree, reads: Rank == 0);
        Move(CollectiveOperation.Gather, x, firsts, y, reads: Rank == 0, inPlace: false);
    }

    /// <inheritdoc/>
    public void Broadcast(Tensor x, int root)
    {
        Operands.CheckWords(x, nameof(x));
        ArgumentOutOfRangeException.ThrowIfNegative(root);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(root, Degree);

        // The root has all columns and has them in place.
        Array.Clear(_rootFirsts, 0, root + 1);
        Array.Fill(_rootFirsts, x.Columns, root + 1, Degree - root);
        Move(CollectiveOperation.Broadcast, x, _rootFirsts, x, reads: Rank != root, inPlace: true);
    }

    /// <inheritdoc/>
    public void Barrier()
    {
        Move(CollectiveOperation.Barrier, default, _all, default, reads: false, inPlace: false);
        _ops.Queue.Synchronize();
        ThrowIfLost();
    }

    /// <inheritdoc/>
    public void Barrier(TimeSpan patience)
    {
        TimeSpan usual = Timeout;
        Timeout = patience;
        try
        {
            Barrier();
        }
        finally
        {
            Timeout = usual;
        }
    }

    /// <inheritdoc/>
    public void ThrowIfLost()
    {
        using Lock.Scope busy = _busy.EnterScope();
        ThrowIfOver();
    }

    /// <inheritdoc/>
    public void Revoke(string reason)
    {
        if (Interlocked.CompareExchange(ref _revoked, reason, null) is null)
            _memory.Revoke(IpcLayout.Abort(IpcFault.Revoked, Rank, Rank));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_busy.TryEnter())
        {
            Revoke($"rank {Rank} was disposed during an operation");
            _busy.Enter();
        }
        try
        {
            if (_disposed)
                return;
            _disposed = true;
            bool unfinished = _lost is not null || _revoked is not null;
            if (unfinished)
                _memory.Revoke(IpcLayout.Abort(IpcFault.Revoked, Rank, Rank)); // what still waits ends now, and not at its deadline
            _ops.Queue.Synchronize();
            _memory.Leave(IpcLayout.Abort(IpcFault.Left, Rank, Rank));
            _memory.Dispose();
            _tables.Dispose();
        }
        finally
        {
            _busy.Exit();
        }
    }

    /// <summary>Gives back what this object made on its backend, whose stream has run dry, but not the group's memory: another communicator goes on over it.</summary>
    internal void Retire()
    {
        using Lock.Scope busy = _busy.EnterScope();
        ThrowIfOver();
        _disposed = true;
        _tables.Dispose();
    }

    private void Sum(CollectiveOperation operation, SumSchedule schedule, Tensor pieces, Tensor y, bool or)
    {
        if (schedule.Depth > IpcSumKernel.MostDepth)
            throw new ArgumentException($"A sum with {schedule.Depth} partial sums alive at once; the kernel holds {IpcSumKernel.MostDepth}.");
        RequireCountable(y.Rows, y.Columns);
        IpcTuning tuning = _memory.Tuning;
        int elements = (int)Words(y), chunk = tuning.HalfWords / schedule.MostPieces / IpcSumKernel.LineElements * IpcSumKernel.LineElements;
        if (chunk == 0)
            throw new ArgumentException($"{schedule.MostPieces} pieces do not fit halves of {tuning.HalfWords} words.");
        (int channels, int channelElements) = Spread(elements, (long)elements * schedule.MostPieces);
        IpcSum sum = new()
        {
            Mine = Address(pieces),
            Result = Address(y),
            Pieces = schedule.Pieces,
            MyPieces = schedule.PiecesOfRank[Rank],
            Elements = elements,
            ChannelElements = channelElements,
            Chunk = chunk,
            TwoShot = (long)elements * schedule.Pieces * sizeof(float) >= tuning.TwoShotBytes ? 1 : 0,
            Or = or ? 1 : 0,
        };
        sum.Aligned = ((sum.Mine | sum.Result) & 15) == 0 && elements % 4 == 0 ? 1 : 0;

        using Lock.Scope busy = _busy.EnterScope();
        ThrowIfOver();
        sum.Schedule = _tables.Of(schedule);
        _sum.Launch(channels, tuning.Threads, Signed(operation, y.Rows, y.Columns, _groupFingerprint.With((int)schedule.Fingerprint).With((int)(schedule.Fingerprint >> 32))), sum);
        ThrowIfRan();
    }

    private void Move(CollectiveOperation operation, Tensor x, IReadOnlyList<int> firsts, Tensor y, bool reads, bool inPlace)
    {
        int widest = 0, rows = x.Rows;
        for (int rank = 0; rank < Degree; rank++)
            widest = Math.Max(widest, firsts[rank + 1] - firsts[rank]);
        RequireCountable(rows, firsts[Degree]);
        (int channels, int channelElements) = Spread(rows * widest, rows * widest);
        IpcMove move = new()
        {
            Source = Address(x),
            Destination = reads && Words(y) > 0 ? Address(y) : 0,
            Rows = rows,
            Longest = rows * widest,
            ChannelElements = channelElements,
            InPlace = inPlace ? 1 : 0,
        };

        using Lock.Scope busy = _busy.EnterScope();
        ThrowIfOver();
        move.Firsts = _tables.Of(firsts);
        _move.Launch(channels, _memory.Tuning.Threads, Signed(operation, rows, firsts[Degree], _groupFingerprint.With((int)x.Type).With(firsts)), move);
        ThrowIfRan();
    }

    /// <summary>How many channels so many words of result take, given the words of the rank that writes most, and the words of each.</summary>
    private (int Channels, int Elements) Spread(int elements, long words)
    {
        long wanted = Math.Clamp(words * sizeof(uint) / _memory.Tuning.ChannelBytes, 1, _memory.Tuning.Channels);
        int each = (int)((elements + wanted - 1) / wanted);
        each = Math.Max((each + IpcSumKernel.LineElements - 1) / IpcSumKernel.LineElements, 1) * IpcSumKernel.LineElements;
        return (Math.Max((elements + each - 1) / each, 1), each);
    }

    /// <summary>The view with what the ranks compare: a hash whose lowest bits are the operation, for the message.</summary>
    private IpcView Signed(CollectiveOperation operation, int rows, int columns, ulong fingerprint)
    {
        ulong hash = fingerprint.With((int)operation).With(rows).With(columns);
        return _view with { Operation = (int)operation, Signature = (int)(hash ^ hash >> 32) & ~OperationMask | (int)operation };
    }

    private static void RequireCountable(int rows, int columns)
    {
        if ((long)rows * columns > MostElements)
            throw new ArgumentException($"{rows} x {columns} words; a kernel counts to {MostElements}.");
    }

    private static long Words(Tensor tensor) => (long)tensor.Rows * tensor.Columns;

    private static long Address(Tensor tensor) => Words(tensor) == 0 ? 0 : CudaBackend.AddressOf(tensor);

    /// <summary>On the emulated device a launch has run when it returns, so its fault belongs to this call.</summary>
    private void ThrowIfRan()
    {
        if (_ops.Queue.IsEmulated)
            ThrowIfOver();
    }

    /// <summary>Under the lock: the end of the epoch as this rank knows of it.</summary>
    private void ThrowIfOver()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_lost is not null)
            throw new RevokedException(Epoch, _lost);
        byte* record = _memory.Host;
        IpcFault fault = (IpcFault)Volatile.Read(ref *(int*)(record + IpcLayout.StatusAt));
        if (fault == IpcFault.None && _revoked is null)
            return;
        GroupLostException lost = fault == IpcFault.None || (fault == IpcFault.Revoked && _revoked is not null)
            ? new RevokedException(Epoch, _revoked!)
            : FromRecord(fault, record);
        _lost = lost is RevokedException revoked ? revoked.Reason : lost.Message;
        throw lost;
    }

    private GroupLostException FromRecord(IpcFault fault, byte* record)
    {
        CollectiveOperation operation = *(CollectiveOperation*)(record + IpcLayout.OperationAt);
        int peer = *(int*)(record + IpcLayout.PeerAt), detail = *(int*)(record + IpcLayout.DetailAt);
        long sequence = *(long*)(record + IpcLayout.SequenceAt), waited = *(long*)(record + IpcLayout.WaitedAt);
        int teller = detail >> 8 & 0xFF, about = detail >> 16 & 0xFF;
        return (fault, (IpcFault)(detail & 0xFF)) switch
        {
            (IpcFault.Timeout, _) => new CollectiveTimeoutException(operation.ToString(), Rank, peer, sequence, TimeSpan.FromMicroseconds(waited / 1e3)),
            (IpcFault.Mismatch, _) => new CollectiveMismatchException(
                $"rank {Rank} is in {operation} {sequence}, rank {peer} in {(CollectiveOperation)(detail & OperationMask)} or with another shape or owners (epoch {Epoch})."),
            (_, IpcFault.Mismatch) => new CollectiveMismatchException($"rank {teller} found that rank {about} is in another operation (epoch {Epoch}, {operation} {sequence} here)."),
            (_, IpcFault.Timeout) => new RevokedException(Epoch, $"rank {teller} waited in vain for rank {about}"),
            (_, IpcFault.Left) => new RevokedException(Epoch, $"rank {Rank} in {operation} {sequence} needs rank {teller}, but it left the group"),
            _ => new RevokedException(Epoch, $"rank {teller} revoked it"),
        };
    }
}
