using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>The negative control: adds each rank's pieces up first, then the ranks' sums in rank order, as an ordinary all-reduce does.</summary>
internal sealed class RankOrderSums(ICommunicator inner, ITensorBackend ops) : ICommunicator
{
    public int Rank => inner.Rank;

    public int Degree => inner.Degree;

    public long Epoch => inner.Epoch;

    public CommunicatorReport Report => inner.Report;

    public bool IsEnqueued => false;

    public TimeSpan TakeElapsed() => inner.TakeElapsed();

    public void BeginStep(long step) => inner.BeginStep(step);

    public void SumTree(Tensor pieces, LeafShare share, Tensor y)
    {
        long mark = ops.Mark();
        int elements = y.Rows * y.Columns;
        Tensor own = ops.Rent(1, elements), all = ops.Rent(1, elements * Degree);
        ops.Upload<float>(new float[elements], own);
        for (int piece = 0; piece < share.Pieces; piece++)
            ops.AddScaled(own, pieces.RowSlice(piece * y.Rows, y.Rows).Reshape(1, elements), 1f);
        inner.AllGather(own, [.. Enumerable.Range(0, Degree + 1).Select(rank => rank * elements)], all);
        Tensor sum = y.Reshape(1, elements);
        ops.Copy(all.ColumnSlice(0, elements), sum);
        for (int rank = 1; rank < Degree; rank++)
            ops.AddScaled(sum, all.ColumnSlice(rank * elements, elements), 1f);
        ops.Release(mark);
    }

    public void SumDisjoint(Tensor x) => inner.SumDisjoint(x);

    public void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y) => inner.AllGather(x, firsts, y);

    public void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y) => inner.Gather(x, firsts, y);

    public void Broadcast(Tensor x, int root) => inner.Broadcast(x, root);

    public void Barrier() => inner.Barrier();

    public void Barrier(TimeSpan patience) => inner.Barrier(patience);

    public void Revoke(string reason) => inner.Revoke(reason);

    public void Dispose() => inner.Dispose();
}
