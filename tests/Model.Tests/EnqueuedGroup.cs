using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>A group that claims to enqueue only, as one whose transport runs on the device does.</summary>
internal sealed class EnqueuedGroup(ICommunicator inner) : ICommunicator
{
    public int Rank => inner.Rank;

    public int Degree => inner.Degree;

    public long Epoch => inner.Epoch;

    public bool IsEnqueued => true;

    public CommunicatorReport Report => inner.Report;

    public TimeSpan TakeElapsed() => inner.TakeElapsed();

    public void BeginStep(long step) => inner.BeginStep(step);

    public void SumTree(Tensor pieces, LeafShare share, Tensor y) => inner.SumTree(pieces, share, y);

    public void SumDisjoint(Tensor x) => inner.SumDisjoint(x);

    public void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y) => inner.AllGather(x, firsts, y);

    public void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y) => inner.Gather(x, firsts, y);

    public void Broadcast(Tensor x, int root) => inner.Broadcast(x, root);

    public void Barrier() => inner.Barrier();

    public void Barrier(TimeSpan patience) => inner.Barrier(patience);

    public void Revoke(string reason) => inner.Revoke(reason);

    public void Dispose() => inner.Dispose();
}
