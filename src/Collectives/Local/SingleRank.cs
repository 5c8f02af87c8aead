using System.Diagnostics;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives.Local;

/// <summary>A group of one: every operation is a copy or nothing. The one piece of its share is the whole tree.</summary>
/// <remarks>Threads   as <see cref="ICommunicator"/>.</remarks>
public sealed unsafe class SingleRank(long epoch) : ICommunicator
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
    public void Revoke(string reason) => Interlocked.CompareExchange(ref _lost, reason, null);

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private void Copy(Tensor from, Tensor to)
    {
        ThrowIfRevoked();
        long start = Stopwatch.GetTimestamp(), bytes = (long)to.Rows * to.Columns * sizeof(uint);
        if (bytes > 0)
            Buffer.MemoryCopy(from.HostRow<uint>(0), to.HostRow<uint>(0), bytes, bytes); // the checks made both of one shape
        _elapsedTicks += Stopwatch.GetTimestamp() - start;
    }

    private void ThrowIfRevoked()
    {
        if (_lost is { } reason)
            throw new RevokedException(Epoch, reason);
    }
}
