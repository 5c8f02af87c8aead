using System.Diagnostics;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives.Local;

/// <summary>A group of one: every operation is a copy on the device or nothing. The one piece of its share is the whole tree.</summary>
/// <remarks>Threads   as <see cref="ICommunicator"/>.</remarks>
/// <param name="epoch">The life of the group.</param>
/// <param name="ops">The device its tensors lie on.</param>
public sealed class SingleRank(long epoch, ITensorBackend ops) : ICommunicator
{
    private long _elapsedTicks;
    private volatile string? _lost;

    /// <inheritdoc/>
    public int Rank => 0;

    /// <inheritdoc/>
    public int Degree => 1;

    /// <inheritdoc/>
    public long Epoch { get; } = epoch;

    /// <inheritdoc/>
    public CommunicatorReport Report { get; } = new("local", "one rank needs no transport", 0);

    /// <inheritdoc/>
    public bool IsEnqueued => true;

    /// <inheritdoc/>
    public TimeSpan TakeElapsed()
    {
        TimeSpan elapsed = Stopwatch.GetElapsedTime(0, _elapsedTicks);
        _elapsedTicks = 0;
        return elapsed;
    }

    /// <inheritdoc/>
    public void BeginStep(long step)
    {
    }

    /// <inheritdoc/>
    public void SumTree(Tensor pieces, LeafShare share, Tensor y)
    {
        Operands.CheckSum(pieces, share, y, Rank, Degree);
        Copy(pieces, y);
    }

    /// <inheritdoc/>
    public void SumDisjoint(Tensor x)
    {
        Operands.CheckWords(x, nameof(x));
        ThrowIfRevoked();
    }

    /// <inheritdoc/>
    public void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        Operands.CheckGather(x, firsts, y, Rank, Degree, reads: true);
        Copy(x, y);
    }

    /// <inheritdoc/>
    public void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y) => AllGather(x, firsts, y);

    /// <inheritdoc/>
    public void Broadcast(Tensor x, int root)
    {
        Operands.CheckWords(x, nameof(x));
        ArgumentOutOfRangeException.ThrowIfNotEqual(root, 0);
        ThrowIfRevoked();
    }

    /// <inheritdoc/>
    public void Barrier() => ThrowIfRevoked();

    /// <inheritdoc/>
    public void Barrier(TimeSpan patience) => ThrowIfRevoked();

    /// <inheritdoc/>
    public void Revoke(string reason) => Interlocked.CompareExchange(ref _lost, reason, null);

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private void Copy(Tensor from, Tensor to)
    {
        ThrowIfRevoked();
        long start = Stopwatch.GetTimestamp();
        if (to.Rows > 0 && to.Columns > 0)
            ops.Copy(from, to);
        _elapsedTicks += Stopwatch.GetTimestamp() - start;
    }

    private void ThrowIfRevoked()
    {
        if (_lost is { } reason)
            throw new RevokedException(Epoch, reason);
    }
}
