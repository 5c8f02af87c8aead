using System.Diagnostics;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives;

/// <summary>The contract's operations, written once over an <see cref="IExchange"/>: checks, numbering, deadline, and what happens to the group when one fails.</summary>
/// <remarks>
/// An operation that ends with any exception once its first block may have left ends the epoch for every rank: peers would wait for this one in vain.
/// Arguments are checked before that, so an ArgumentException leaves the group as it was.
/// Threads  operations on the rank's thread; <see cref="Revoke"/> and <see cref="Dispose"/> from any: an operation in progress is ended before its memory goes.
/// </remarks>
internal sealed unsafe class GroupCommunicator : ICommunicator
{
    private readonly Lock _busy = new();
    private readonly IExchange _exchange;
    private readonly OperationContext _operation;
    private readonly SumAlgorithm _sum;
    private readonly GatherAlgorithm _gather;
    private readonly RoundedSumAlgorithm? _rounded;
    private readonly SumSchedule _onePieceEach;
    private readonly SumRows _rows = new();
    private long _step;
    private long _sequence;
    private long _elapsedTicks;
    private OperationPart? _part;
    private string? _lost;
    private bool _disposed;

    /// <summary>Takes the exchange over: disposes it.</summary>
    /// <param name="exchange">What moves the bytes.</param>
    /// <param name="rank">This rank's place in the group.</param>
    /// <param name="degree">Ranks of the group.</param>
    /// <param name="timeout">How long an operation waits for the peers.</param>
    /// <param name="epoch">The life of the group.</param>
    /// <param name="report">Transport and reason.</param>
    /// <param name="names">Where the group is a part of another: the rank there at each place here, for exceptions.</param>
    /// <param name="wire">What partial sums are sent as.</param>
    public GroupCommunicator(
        IExchange exchange, int rank, int degree, TimeSpan timeout, long epoch, CommunicatorReport report, IReadOnlyList<int>? names = null,
        WireFormat wire = WireFormat.Float32)
    {
        _exchange = exchange;
        _operation = new OperationContext(rank, timeout, names);
        _sum = new SumAlgorithm(exchange, rank, degree);
        _rounded = wire == WireFormat.Float32 ? null : new RoundedSumAlgorithm(exchange, wire, rank, degree);
        _gather = new GatherAlgorithm(exchange, rank, degree);
        _onePieceEach = SumSchedule.OnePieceEach(degree);
        Rank = rank;
        Degree = degree;
        Epoch = epoch;
        Report = report with { Wire = wire };
    }

    /// <inheritdoc/>
    public int Rank { get; }

    /// <inheritdoc/>
    public int Degree { get; }

    /// <inheritdoc/>
    public long Epoch { get; }

    /// <inheritdoc/>
    public CommunicatorReport Report { get; internal set; }

    /// <summary>What moves the bytes.</summary>
    public IExchange Exchange => _exchange;

    /// <inheritdoc/>
    public bool IsEnqueued => false;

    /// <inheritdoc/>
    public TimeSpan TakeElapsed()
    {
        TimeSpan elapsed = Stopwatch.GetElapsedTime(0, _elapsedTicks);
        _elapsedTicks = 0;
        return elapsed;
    }

    /// <inheritdoc/>
    public Traffic Sent => _exchange.Sent;

    /// <inheritdoc/>
    public TimeSpan Waited => Stopwatch.GetElapsedTime(0, _operation.WaitedTicks);

    /// <inheritdoc/>
    public void BeginStep(long step) => _step = step;

    /// <inheritdoc/>
    public void SumTree(Tensor pieces, LeafShare share, Tensor y) => Sum(pieces, share, y, null);

    /// <inheritdoc/>
    public void SumTree(Tensor pieces, LeafShare share, Tensor y, ISumConsumer consumer)
    {
        ArgumentNullException.ThrowIfNull(consumer);
        _rows.Begin(y, consumer);
        Sum(pieces, share, y, _rows);
    }

    /// <inheritdoc/>
    public Tensor? Window(LeafShare share, int rows, int columns)
    {
        ArgumentNullException.ThrowIfNull(share);
        return Window(SumSchedule.Of(share), rows, columns);
    }

    /// <summary>As above, for a sum by a schedule that stands for no share.</summary>
    public Tensor? Window(SumSchedule schedule, int rows, int columns)
    {
        using Lock.Scope busy = _busy.EnterScope();
        if (_disposed || _lost is not null || _rounded is not null)
            return null; // the operation will say so; and what is rounded to be sent cannot be read where it was computed
        return _exchange.TryWindow((long)schedule.MostPieces * rows * columns * sizeof(float)) is { } block
            ? new Tensor(block, 0, schedule.PiecesOfRank[Rank] * rows, columns, columns, ElementType.Float32)
            : null;
    }

    /// <summary>As SumTree, by a schedule that stands for no share. The operands are checked by the caller.</summary>
    public void Sum(Tensor pieces, SumSchedule schedule, Tensor y, SumRows? rows = null) =>
        Run(CollectiveOperation.SumTree, y.Rows, y.Columns, schedule.Fingerprint.With((int)Report.Wire), (pieces, schedule, y, rows), static (me, a) =>
        {
            long elements = (long)a.y.Rows * a.y.Columns;
            float* mine = a.pieces.Rows == 0 ? null : a.pieces.HostRow<float>(0);
            float* result = elements == 0 ? null : a.y.HostRow<float>(0);
            if (me._rounded is { } rounded)
                rounded.Run(me._operation, a.schedule, mine, a.y.Rows, a.y.Columns, result, elements == 0 ? null : a.rows);
            else
                me._sum.Run<AddMerge>(me._operation, a.schedule, mine, elements, result, elements == 0 ? null : a.rows);
        });

    /// <inheritdoc/>
    public void SumDisjoint(Tensor x)
    {
        Operands.CheckWords(x, nameof(x));
        ulong fingerprint = Fingerprint.Empty.With((int)x.Type);
        Run(CollectiveOperation.SumDisjoint, x.Rows, x.Columns, fingerprint, x, static (me, x) =>
        {
            long elements = (long)x.Rows * x.Columns;
            float* address = elements == 0 ? null : x.HostRow<float>(0);
            me._sum.Run<OrMerge>(me._operation, me._onePieceEach, address, elements, address);
        });
    }

    /// <inheritdoc/>
    public void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        Operands.CheckGather(x, firsts, y, Rank, Degree, reads: true);
        ulong fingerprint = Fingerprint.Empty.With((int)x.Type).With(firsts);
        Run(CollectiveOperation.AllGather, x.Rows, firsts[Degree], fingerprint, (x, firsts, y), static (me, a) =>
            me._gather.Run(me._operation, a.x, a.firsts, a.y, GatherAlgorithm.Everyone));
    }

    /// <inheritdoc/>
    public void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        Operands.CheckGather(x, firsts, y, Rank, Degree, reads: Rank == 0);
        ulong fingerprint = Fingerprint.Empty.With((int)x.Type).With(firsts);
        Run(CollectiveOperation.Gather, x.Rows, firsts[Degree], fingerprint, (x, firsts, y), static (me, a) =>
            me._gather.Run(me._operation, a.x, a.firsts, a.y, reader: 0));
    }

    /// <inheritdoc/>
    public void Broadcast(Tensor x, int root)
    {
        Operands.CheckWords(x, nameof(x));
        ArgumentOutOfRangeException.ThrowIfNegative(root);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(root, Degree);
        ulong fingerprint = Fingerprint.Empty.With((int)x.Type).With(root);
        Run(CollectiveOperation.Broadcast, x.Rows, x.Columns, fingerprint, (x, root), static (me, a) => me.BroadcastChunks(a.x, a.root));
    }

    /// <inheritdoc/>
    public void Barrier() => Run(CollectiveOperation.Barrier, 0, 0, 0, 0, static (me, _) => me.MeetAll());

    /// <inheritdoc/>
    public void Barrier(TimeSpan patience) => Run(CollectiveOperation.Barrier, 0, 0, 0, 0, static (me, _) => me.MeetAll(), patience);

    /// <summary>The operations that follow are parts of a longer one; null = each is one by itself.</summary>
    public void BeginPart(OperationPart? part) => _part = part;

    /// <summary>Ends the epoch of this group; the first reason stands.</summary>
    public void Abort(GroupAbort abort) => _exchange.Abort(abort.Kind, abort.Reason);

    /// <inheritdoc/>
    public void Revoke(string reason) => _exchange.Abort(AbortKind.Revoked, reason);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_busy.TryEnter())
        {
            _exchange.Abort(AbortKind.Revoked, $"rank {Rank} was disposed during an operation");
            _busy.Enter(); // the operation sees the abort and ends
        }
        try
        {
            _disposed = true;
            _exchange.Dispose();
        }
        finally
        {
            _busy.Exit();
        }
    }

    private void Sum(Tensor pieces, LeafShare share, Tensor y, SumRows? rows)
    {
        Operands.CheckSum(pieces, share, y, Rank, Degree);
        Sum(pieces, SumSchedule.Of(share), y, rows);
    }

    private void MeetAll()
    {
        _exchange.Open(_operation);
        _exchange.Publish(_operation, 0);
        for (int peer = 0; peer < Degree; peer++)
            if (peer != Rank)
                _exchange.Await(_operation, peer, 0, 0);
        _exchange.Close();
    }

    /// <summary>The root's bytes go to everyone; everyone waits for everyone, so that a rank on another path is found here and not later.</summary>
    private void BroadcastChunks(Tensor x, int root)
    {
        long bytes = (long)x.Rows * x.Columns * sizeof(uint), first = 0;
        byte* data = bytes == 0 ? null : (byte*)x.HostRow<uint>(0);
        do
        {
            int count = (int)Math.Min(_exchange.BlockBytes, bytes - first);
            byte* block = _exchange.Open(_operation);
            if (Rank == root)
                Buffer.MemoryCopy(data + first, block, count, count);
            _exchange.Publish(_operation, Rank == root ? count : 0);
            for (int peer = 0; peer < Degree; peer++)
            {
                if (peer == Rank)
                    continue;
                byte* theirs = _exchange.Await(_operation, peer, 0, peer == root ? count : 0);
                if (peer == root)
                    Buffer.MemoryCopy(theirs, data + first, count, count);
            }
            _exchange.Close();
            first += count;
        } while (first < bytes);
    }

    /// <summary>One operation: its number and header, its clock, and the end of the epoch where it fails. The bodies capture nothing, so nothing is allocated.</summary>
    private void Run<T>(CollectiveOperation operation, int rows, int columns, ulong fingerprint, T arguments, Action<GroupCommunicator, T> body, TimeSpan? patience = null)
    {
        using Lock.Scope busy = _busy.EnterScope(); // free but for a Dispose from another thread
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_lost is not null)
            throw new RevokedException(Epoch, _lost);
        long start = Stopwatch.GetTimestamp();
        _operation.Begin(
            new OperationHeader(Epoch, _step, ++_sequence, fingerprint ^ (_part?.Fingerprint ?? 0), operation, rows, columns), _part?.Patience ?? patience, _part?.StartedAt ?? start);
        try
        {
            if (_exchange.Aborted is { } abort)
                throw abort.ToException(Epoch);
            body(this, arguments);
        }
        catch (Exception fault)
        {
            _lost = fault is RevokedException revoked ? revoked.Reason : fault.Message;
            _exchange.Abort(fault is CollectiveMismatchException ? AbortKind.Mismatch : AbortKind.Revoked, _lost);
            throw;
        }
        finally
        {
            _elapsedTicks += Stopwatch.GetTimestamp() - start - _rows.TakeTicks();
        }
    }
}

/// <summary>What the operations of a group share that are parts of a longer one, between more ranks than the group has.</summary>
/// <param name="Fingerprint">Of the longer operation: ranks that are in different ones find out inside their own group.</param>
/// <param name="StartedAt">When it began, in Stopwatch ticks.</param>
/// <param name="Patience">How long after that its peers are waited for.</param>
internal readonly record struct OperationPart(ulong Fingerprint, long StartedAt, TimeSpan Patience);
