using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using TpServe.Collectives.Ring;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives.Hosted;

/// <summary>One rank of a group on several hosts: each operation is one inside the host, one between the leaders, and what everyone needs handed back.</summary>
/// <remarks>
/// A leader's bytes cross the network once for its whole run: subtrees that are finished inside the run, columns laid side by side there.
/// The parts of an operation carry the fingerprint of the whole, so that ranks that disagree find out inside their own group; they have one deadline. Who waits to
/// be handed a result waits a little longer, so that its leader's verdict comes first.
/// The end of the epoch goes both ways: a rank tells every rank of the group over the network, and whoever hears of it ends its part in shared memory.
/// Numerics  as every communicator: the canonical tree, whoever adds.
/// Threads   as <see cref="ICommunicator"/>.
/// </remarks>
internal sealed class HostedGroup : ICommunicator
{
    private static readonly TimeSpan s_verdict = TimeSpan.FromSeconds(1);

    private readonly Lock _busy = new();
    private readonly ConditionalWeakTable<LeafShare, HostedSums> _sums = [];
    private readonly RingEpoch _life;
    private readonly HostRuns _runs;
    private readonly GroupCommunicator? _inside;
    private readonly GroupCommunicator? _across;
    private readonly TimeSpan _timeout;
    private readonly int[] _firstsInside;
    private readonly int[] _firstsAcross;
    private HostBuffer? _room;
    private OperationPart _part;
    private long _elapsedTicks;
    private string? _lost;
    private bool _disposed;

    /// <summary>Takes over the epoch and both groups.</summary>
    /// <param name="life">How the ranks hear of the end.</param>
    /// <param name="runs">Who is on whose host.</param>
    /// <param name="inside">The group of this rank's run; null where it is alone.</param>
    /// <param name="across">The leaders' group; null where this rank leads none or there is one run.</param>
    /// <param name="rank">This rank.</param>
    /// <param name="timeout">How long an operation waits for the peers.</param>
    /// <param name="epoch">The life of the group.</param>
    /// <param name="wire">What partial sums are sent as between the leaders.</param>
    public HostedGroup(RingEpoch life, HostRuns runs, GroupCommunicator? inside, GroupCommunicator? across, int rank, TimeSpan timeout, long epoch, WireFormat wire)
    {
        _life = life;
        _runs = runs;
        _inside = inside;
        _across = across;
        _timeout = timeout;
        _firstsInside = new int[runs.Ranks + 1];
        _firstsAcross = new int[runs.Leaders.Length + 1];
        Rank = rank;
        Epoch = epoch;
        Report = new CommunicatorReport("shm+ring", $"{runs.Degree} ranks in {runs.Leaders.Length} runs of one host each: shared memory inside, sockets between", 0) { Wire = runs.Leaders.Length > 1 ? wire : WireFormat.Float32 };
    }

    /// <inheritdoc/>
    public int Rank { get; }

    /// <inheritdoc/>
    public int Degree => _runs.Degree;

    /// <inheritdoc/>
    public long Epoch { get; }

    /// <inheritdoc/>
    public CommunicatorReport Report { get; set; }

    /// <inheritdoc/>
    public bool IsEnqueued => false;

    /// <inheritdoc/>
    public Traffic Sent => (_inside?.Sent ?? default) + (_across?.Sent ?? default);

    /// <inheritdoc/>
    public TimeSpan TakeElapsed()
    {
        TimeSpan elapsed = Stopwatch.GetElapsedTime(0, _elapsedTicks);
        _elapsedTicks = 0;
        return elapsed;
    }

    /// <inheritdoc/>
    public TimeSpan Waited => (_inside?.Waited ?? TimeSpan.Zero) + (_across?.Waited ?? TimeSpan.Zero);

    /// <inheritdoc/>
    public void BeginStep(long step)
    {
        _inside?.BeginStep(step);
        _across?.BeginStep(step);
    }

    /// <inheritdoc/>
    public void SumTree(Tensor pieces, LeafShare share, Tensor y)
    {
        Operands.CheckSum(pieces, share, y, Rank, Degree);
        Run(CollectiveOperation.SumTree, y.Rows, y.Columns, SumSchedule.Of(share).Fingerprint, (pieces, share, y), static (me, a) =>
        {
            HostedSums sums = me.SumsOf(a.share);
            Tensor subtrees = me._inside is null ? a.pieces : me.SumInside(a.pieces, sums, a.y);
            me._across?.Sum(subtrees, sums.Across, a.y);
            me.HandBack(a.y);
        });
    }

    /// <inheritdoc/>
    public Tensor? Window(LeafShare share, int rows, int columns)
    {
        ArgumentNullException.ThrowIfNull(share);
        HostedSums sums = SumsOf(share);
        return sums.Mine is [{ IsLeaders: false } subtree] ? _inside?.Window(subtree.Schedule, rows, columns) : null;
    }

    /// <inheritdoc/>
    public void SumDisjoint(Tensor x)
    {
        Operands.CheckWords(x, nameof(x));
        Run(CollectiveOperation.SumDisjoint, x.Rows, x.Columns, Fingerprint.Empty.With((int)x.Type), x, static (me, x) =>
        {
            me._inside?.SumDisjoint(x);
            me._across?.SumDisjoint(x);
            me.HandBack(x);
        });
    }

    /// <inheritdoc/>
    public void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        Operands.CheckGather(x, firsts, y, Rank, Degree, reads: true);
        Run(CollectiveOperation.AllGather, x.Rows, firsts[Degree], Fingerprint.Empty.With((int)x.Type).With(firsts), (x, firsts, y), static (me, a) =>
        {
            Tensor columns = me.GatherInside(a.x, a.firsts);
            me._across?.AllGather(columns, me._firstsAcross, a.y);
            if (me._across is null && me._runs.Leads)
                CopyWords(columns, a.y);
            me.HandBack(a.y);
        });
    }

    /// <inheritdoc/>
    public void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        Operands.CheckGather(x, firsts, y, Rank, Degree, reads: Rank == 0);
        Run(CollectiveOperation.Gather, x.Rows, firsts[Degree], Fingerprint.Empty.With((int)x.Type).With(firsts), (x, firsts, y), static (me, a) =>
        {
            Tensor columns = me.GatherInside(a.x, a.firsts);
            me._across?.Gather(columns, me._firstsAcross, a.y);
            if (me._across is null && me._runs.Leads)
                CopyWords(columns, a.y);
        });
    }

    /// <inheritdoc/>
    public void Broadcast(Tensor x, int root)
    {
        Operands.CheckWords(x, nameof(x));
        ArgumentOutOfRangeException.ThrowIfNegative(root);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(root, Degree);
        Run(CollectiveOperation.Broadcast, x.Rows, x.Columns, Fingerprint.Empty.With((int)x.Type).With(root), (x, root), static (me, a) =>
        {
            int run = me._runs.RunOf(a.root);
            bool isHere = run == me._runs.Mine;
            if (isHere)
                me._inside?.Broadcast(a.x, a.root - me._runs.First);
            me._across?.Broadcast(a.x, run);
            if (!isHere)
                me.HandBack(a.x);
        });
    }

    /// <inheritdoc/>
    public void Barrier() => Barrier(_timeout);

    /// <inheritdoc/>
    public void Barrier(TimeSpan patience) => Run(CollectiveOperation.Barrier, 0, 0, 0, 0, static (me, _) =>
    {
        me._inside?.Barrier();
        me._across?.Barrier();
        me.WaitForLeader();
        me._inside?.Barrier();
    }, patience);

    /// <inheritdoc/>
    public void Revoke(string reason) => _life.Abort(AbortKind.Revoked, reason);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_busy.TryEnter())
        {
            _life.Abort(AbortKind.Revoked, $"rank {Rank} was disposed during an operation");
            _busy.Enter(); // the operation sees the abort and ends
        }
        try
        {
            _disposed = true;
            _across?.Dispose();
            _inside?.Dispose();
            _life.Dispose();
            _room?.Dispose();
        }
        finally
        {
            _busy.Exit();
        }
    }

    private HostedSums SumsOf(LeafShare share)
    {
        if (!_sums.TryGetValue(share, out HostedSums? sums))
            _sums.Add(share, sums = new HostedSums(share, _runs));
        return sums;
    }

    /// <summary>Finishes the subtrees of the run; on the leader all of them, on others y holds whichever came last.</summary>
    private Tensor SumInside(Tensor pieces, HostedSums sums, Tensor y)
    {
        bool several = sums.Mine.Count != 1;
        Tensor subtrees = !_runs.Leads ? default : several ? Room(sums.Mine.Count * y.Rows, y.Columns, y.Type) : y;
        for (int i = 0; i < sums.Mine.Count; i++)
        {
            HostedSums.Subtree subtree = sums.Mine[i];
            Tensor part = subtree.Pieces == 0 ? pieces.RowSlice(0, 0) : pieces.RowSlice(subtree.First * y.Rows, subtree.Pieces * y.Rows);
            Tensor sum = _runs.Leads && several ? subtrees.RowSlice(i * y.Rows, y.Rows) : y;
            if (!subtree.IsLeaders)
                _inside!.Sum(part, subtree.Schedule, sum);
            else if (_runs.Leads)
                CopyWords(part, sum);
        }
        return subtrees;
    }

    /// <summary>The run's columns side by side, on the leader; the first columns of ranks and runs stand in the two arrays after it.</summary>
    private Tensor GatherInside(Tensor x, IReadOnlyList<int> firsts)
    {
        for (int run = 0; run < _firstsAcross.Length - 1; run++)
            _firstsAcross[run + 1] = firsts[_runs.EndOf(run)];
        if (_inside is null)
            return x;
        for (int place = 0; place <= _runs.Ranks; place++)
            _firstsInside[place] = firsts[_runs.First + place] - firsts[_runs.First];
        Tensor columns = _runs.Leads ? Room(x.Rows, _firstsInside[^1], x.Type) : default;
        _inside.Gather(x, _firstsInside, columns);
        return columns;
    }

    /// <summary>What the leader has is everyone's.</summary>
    private void HandBack(Tensor x)
    {
        WaitForLeader();
        _inside?.Broadcast(x, 0);
    }

    private void WaitForLeader() => _inside?.BeginPart(_part with { Patience = _part.Patience + s_verdict });

    /// <summary>Memory that operations use one after the other; it grows to the largest and then stays.</summary>
    private Tensor Room(int rows, int columns, ElementType type)
    {
        long bytes = (long)rows * columns * type.SizeBytes();
        if (_room is null || _room.Bytes < bytes)
        {
            _room?.Dispose();
            _room = new HostBuffer((long)BitOperations.RoundUpToPowerOf2((ulong)bytes));
        }
        return new Tensor(_room, 0, rows, columns, columns, type);
    }

    /// <summary>to ← from, both dense and of one size.</summary>
    private static unsafe void CopyWords(Tensor from, Tensor to)
    {
        long bytes = (long)from.Rows * from.Columns * sizeof(uint);
        if (bytes > 0)
            Buffer.MemoryCopy(from.HostRow<uint>(0), to.HostRow<uint>(0), bytes, bytes); // the tensors lie inside their buffers
    }

    /// <summary>One operation: its parts' common fingerprint and deadline, and the end of the epoch where it fails.</summary>
    private void Run<T>(CollectiveOperation operation, int rows, int columns, ulong fingerprint, T arguments, Action<HostedGroup, T> body, TimeSpan? patience = null)
    {
        using Lock.Scope busy = _busy.EnterScope(); // free but for a Dispose from another thread
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_lost is not null)
            throw new RevokedException(Epoch, _lost);
        long start = Stopwatch.GetTimestamp();
        ulong whole = Fingerprint.Empty.With((int)operation).With(rows).With(columns).With((int)fingerprint).With((int)(fingerprint >> 32));
        _part = new OperationPart(whole, start, patience ?? _timeout);
        _inside?.BeginPart(_part);
        _across?.BeginPart(_part);
        try
        {
            if (_life.Aborted is { } abort)
                throw abort.ToException(Epoch);
            body(this, arguments);
        }
        catch (Exception fault)
        {
            _lost = fault is RevokedException revoked ? revoked.Reason : fault.Message;
            _life.Abort(fault is CollectiveMismatchException ? AbortKind.Mismatch : AbortKind.Revoked, _lost);
            throw;
        }
        finally
        {
            _elapsedTicks += Stopwatch.GetTimestamp() - start;
        }
    }
}
