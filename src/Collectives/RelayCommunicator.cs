using System.Diagnostics;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives;

/// <summary>A rank's place in whatever group is its own at present: a model built over it outlives the epoch.</summary>
/// <remarks>
/// Rank and degree stay; the group behind them is entered and left between steps. While there is none, every operation throws <see cref="RevokedException"/>.
/// What was recorded as a graph in one group names that group's memory: whoever enters another drops the recordings.
/// It counts what operations come to, where they run on the host: what a device has enqueued or replays it cannot see.
/// Threads  the rank's thread; <see cref="Revoke"/> from any.
/// </remarks>
public sealed class RelayCommunicator(int rank, int degree) : ICommunicator
{
    private volatile ICommunicator? _group;
    private long _epoch;
    private CollectivePurpose _purpose;
    private TimeSpan _elapsed, _hiddenWait;
    private SumsUnderWay? _underWay;

    /// <inheritdoc/>
    public int Rank => rank;

    /// <inheritdoc/>
    public int Degree => degree;

    /// <summary>The life of the group entered last.</summary>
    public long Epoch => Volatile.Read(ref _epoch);

    /// <inheritdoc/>
    public CommunicatorReport Report => Group.Report;

    /// <inheritdoc/>
    public bool IsEnqueued => Group.IsEnqueued;

    /// <summary>What operations have come to, by what they were for; in whatever group, until it is cleared.</summary>
    public CollectiveMeter Meter { get; } = new();

    /// <summary>Told of every operation of a step; null = nobody is.</summary>
    public IOperationObserver? Observer { get; set; }

    /// <inheritdoc/>
    public int OverlapRows { get; set; }

    private ICommunicator Group => _group ?? throw new RevokedException(Epoch, "the rank has left its group");

    /// <summary>Takes a group over: disposes it when it is left.</summary>
    /// <exception cref="ArgumentException">Its rank or degree is another.</exception>
    public void Enter(ICommunicator group)
    {
        ArgumentNullException.ThrowIfNull(group);
        if (group.Rank != rank || group.Degree != degree)
            throw new ArgumentException($"Rank {group.Rank} of {group.Degree} cannot stand for rank {rank} of {degree}.", nameof(group));
        Leave();
        Volatile.Write(ref _epoch, group.Epoch);
        _group = group;
    }

    /// <summary>Leaves the group and disposes it; nothing where there is none.</summary>
    public void Leave()
    {
        ICommunicator? group = _group;
        _group = null;
        group?.Dispose(); // ends what is under way
        _underWay?.Dispose();
        _underWay = null;
        _hiddenWait = TimeSpan.Zero; // the next group counts from zero
    }

    /// <inheritdoc/>
    public TimeSpan TakeElapsed()
    {
        TimeSpan elapsed = _elapsed + Group.TakeElapsed();
        _elapsed = TimeSpan.Zero;
        return elapsed;
    }

    /// <inheritdoc/>
    public TimeSpan Waited => _underWay is { Any: true } ? throw new InvalidOperationException("A sum is under way.") : Group.Waited - _hiddenWait;

    /// <inheritdoc/>
    public Traffic Sent => Group.Sent;

    /// <inheritdoc/>
    public void For(CollectivePurpose purpose) => _purpose = purpose;

    /// <inheritdoc/>
    public void ThrowIfLost() => Group.ThrowIfLost();

    /// <inheritdoc/>
    public void BeginStep(long step) => Group.BeginStep(step);

    /// <inheritdoc/>
    public void SumTree(Tensor pieces, LeafShare share, Tensor y)
    {
        Span span = Begin();
        Group.SumTree(pieces, share, y);
        End(span, "sum", y.Rows, y.Columns);
    }

    /// <inheritdoc/>
    public void SumTree(Tensor pieces, LeafShare share, Tensor y, ISumConsumer consumer)
    {
        Span span = Begin();
        Group.SumTree(pieces, share, y, consumer);
        End(span, "sum", y.Rows, y.Columns);
    }

    /// <inheritdoc/>
    public void BeginSum(Tensor pieces, LeafShare share, Tensor y)
    {
        ICommunicator group = Group;
        _underWay ??= new SumsUnderWay();
        if (!_underWay.Any)
            _elapsed += group.TakeElapsed();
        _underWay.Begin(group, pieces, share, y);
    }

    /// <summary>As the contract says. Of the sum's time only what the rank waited for it here counts as time in operations.</summary>
    public void EndSum()
    {
        long start = Stopwatch.GetTimestamp();
        SumRan ran = (_underWay ?? throw new InvalidOperationException("No sum is under way.")).End();
        TimeSpan exposed = Stopwatch.GetElapsedTime(start);
        _elapsed += exposed;
        _hiddenWait += ran.Waited > exposed ? ran.Waited - exposed : TimeSpan.Zero;
        Meter.Add(_purpose, ran.Sent, ran.Elapsed);
        Observer?.Ran("sum beside the next block", ran.Rows, ran.Columns, ran.Start, ran.End, ran.Waited);
    }

    /// <inheritdoc/>
    public Tensor? Window(LeafShare share, int rows, int columns) => Group.Window(share, rows, columns);

    /// <inheritdoc/>
    public void SumDisjoint(Tensor x)
    {
        Span span = Begin();
        Group.SumDisjoint(x);
        End(span, "sum of disjoint rows", x.Rows, x.Columns);
    }

    /// <inheritdoc/>
    public void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        Span span = Begin();
        Group.AllGather(x, firsts, y);
        End(span, "gather to all", x.Rows, firsts[degree]);
    }

    /// <inheritdoc/>
    public void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        Span span = Begin();
        Group.Gather(x, firsts, y);
        End(span, "gather", x.Rows, firsts[degree]);
    }

    /// <inheritdoc/>
    public void Broadcast(Tensor x, int root)
    {
        Span span = Begin();
        Group.Broadcast(x, root);
        End(span, "broadcast", x.Rows, x.Columns);
    }

    /// <inheritdoc/>
    public void Barrier() => Group.Barrier();

    /// <inheritdoc/>
    public void Barrier(TimeSpan patience) => Group.Barrier(patience);

    /// <inheritdoc/>
    public void Revoke(string reason) => _group?.Revoke(reason);

    /// <inheritdoc/>
    public void Dispose() => Leave();

    private Span Begin()
    {
        ICommunicator group = Group;
        if (group.IsEnqueued)
            return Observer is null ? default : new Span(Stopwatch.GetTimestamp(), group.Waited, default);
        _elapsed += group.TakeElapsed(); // what came before is no part of this one
        return new Span(Observer is null ? 0 : Stopwatch.GetTimestamp(), Observer is null ? default : group.Waited, group.Sent);
    }

    private void End(Span span, string operation, int rows, int columns)
    {
        ICommunicator group = Group;
        if (!group.IsEnqueued)
        {
            TimeSpan elapsed = group.TakeElapsed();
            _elapsed += elapsed;
            Meter.Add(_purpose, group.Sent - span.Sent, elapsed);
        }
        Observer?.Ran(operation, rows, columns, span.Start, Stopwatch.GetTimestamp(), group.Waited - span.Waited);
    }

    private readonly record struct Span(long Start, TimeSpan Waited, Traffic Sent);
}

/// <summary>Told of each operation that a rank takes part in, once it has ended on the host.</summary>
public interface IOperationObserver
{
    /// <param name="operation">Which, for people.</param>
    /// <param name="rows">Rows of the whole operand.</param>
    /// <param name="columns">Its columns.</param>
    /// <param name="start">Stopwatch ticks.</param>
    /// <param name="end">Stopwatch ticks.</param>
    /// <param name="waited">What of it was waiting for peers.</param>
    void Ran(string operation, int rows, int columns, long start, long end, TimeSpan waited);
}
