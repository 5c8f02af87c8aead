using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives;

/// <summary>A rank's place in whatever group is its own at present: a model built over it outlives the epoch.</summary>
/// <remarks>
/// Rank and degree stay; the group behind them is entered and left between steps. While there is none, every operation throws <see cref="RevokedException"/>.
/// What was recorded as a graph in one group names that group's memory: whoever enters another drops the recordings.
/// Threads  the rank's thread; <see cref="Revoke"/> from any.
/// </remarks>
public sealed class RelayCommunicator(int rank, int degree) : ICommunicator
{
    private volatile ICommunicator? _group;
    private long _epoch;

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
        group?.Dispose();
    }

    /// <inheritdoc/>
    public TimeSpan TakeElapsed() => Group.TakeElapsed();

    /// <inheritdoc/>
    public void ThrowIfLost() => Group.ThrowIfLost();

    /// <inheritdoc/>
    public void BeginStep(long step) => Group.BeginStep(step);

    /// <inheritdoc/>
    public void SumTree(Tensor pieces, LeafShare share, Tensor y) => Group.SumTree(pieces, share, y);

    /// <inheritdoc/>
    public void SumTree(Tensor pieces, LeafShare share, Tensor y, ISumConsumer consumer) => Group.SumTree(pieces, share, y, consumer);

    /// <inheritdoc/>
    public Tensor? Window(LeafShare share, int rows, int columns) => Group.Window(share, rows, columns);

    /// <inheritdoc/>
    public void SumDisjoint(Tensor x) => Group.SumDisjoint(x);

    /// <inheritdoc/>
    public void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y) => Group.AllGather(x, firsts, y);

    /// <inheritdoc/>
    public void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y) => Group.Gather(x, firsts, y);

    /// <inheritdoc/>
    public void Broadcast(Tensor x, int root) => Group.Broadcast(x, root);

    /// <inheritdoc/>
    public void Barrier() => Group.Barrier();

    /// <inheritdoc/>
    public void Barrier(TimeSpan patience) => Group.Barrier(patience);

    /// <inheritdoc/>
    public void Revoke(string reason) => _group?.Revoke(reason);

    /// <inheritdoc/>
    public void Dispose() => Leave();
}
