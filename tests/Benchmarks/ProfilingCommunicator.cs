using System.Diagnostics;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Benchmarks;

/// <summary>A communicator that passes everything on and takes the time of each operation, waiting for the peers included.</summary>
/// <remarks>Threads   as <see cref="ICommunicator"/>.</remarks>
internal sealed class ProfilingCommunicator(ICommunicator inner, OperationClock clock) : ICommunicator
{
    public int Rank => inner.Rank;

    public int Degree => inner.Degree;

    public long Epoch => inner.Epoch;

    public CommunicatorReport Report => inner.Report;

    public bool IsEnqueued => inner.IsEnqueued;

    public TimeSpan TakeElapsed() => inner.TakeElapsed();

    public void ThrowIfLost() => inner.ThrowIfLost();

    public void BeginStep(long step) => inner.BeginStep(step);

    public void SumTree(Tensor pieces, LeafShare share, Tensor y)
    {
        long start = Start();
        inner.SumTree(pieces, share, y);
        Stop(Operation.SumTree, start, y);
    }

    public void SumTree(Tensor pieces, LeafShare share, Tensor y, ISumConsumer consumer)
    {
        long start = Start();
        double before = clock.Added;
        inner.SumTree(pieces, share, y, consumer);
        Stop(Operation.SumTree, start + (long)(clock.Added - before), y);
    }

    public Tensor? Window(LeafShare share, int rows, int columns) => inner.Window(share, rows, columns);

    public void SumDisjoint(Tensor x)
    {
        long start = Start();
        inner.SumDisjoint(x);
        Stop(Operation.SumDisjoint, start, x);
    }

    public void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        long start = Start();
        inner.AllGather(x, firsts, y);
        Stop(Operation.Gather, start, x);
    }

    public void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        long start = Start();
        inner.Gather(x, firsts, y);
        Stop(Operation.Gather, start, x);
    }

    public void Broadcast(Tensor x, int root)
    {
        long start = Start();
        inner.Broadcast(x, root);
        Stop(Operation.Broadcast, start, x);
    }

    public void Barrier() => inner.Barrier();

    public void Barrier(TimeSpan patience) => inner.Barrier(patience);

    public void Revoke(string reason) => inner.Revoke(reason);

    /// <summary>The group is its maker's.</summary>
    public void Dispose()
    {
    }

    private long Start() => clock.IsOn ? Stopwatch.GetTimestamp() : 0;

    private void Stop(Operation operation, long start, Tensor moved)
    {
        if (clock.IsOn)
            clock.Add(operation, start, (double)moved.Rows * moved.Columns * sizeof(float));
    }
}
