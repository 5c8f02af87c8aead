using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

internal sealed unsafe class SoloCommunicator : ICommunicator
{
    public int Rank => 0;
    public int Degree => 1;
    public long Epoch => 1;
    public CommunicatorReport Report => new("solo", "", 0);
    public TimeSpan TakeElapsed() => TimeSpan.Zero;
    public void BeginStep(long step) { }
    public void SumTree(Tensor pieces, LeafShare share, Tensor y) { for (int r = 0; r < y.Rows; r++) pieces.HostSpan<float>(r).CopyTo(y.HostSpan<float>(r)); }
    public void SumDisjoint(Tensor x) { }
    public void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y) { for (int r = 0; r < y.Rows; r++) x.HostSpan<float>(r).CopyTo(y.HostSpan<float>(r)); }
    public void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y) => AllGather(x, firsts, y);
    public void Broadcast(Tensor x, int root) { }
    public void Barrier() { }
    public void Revoke(string reason) { }
    public void Dispose() { }
}
