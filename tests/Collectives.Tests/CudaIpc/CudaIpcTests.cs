using TpServe.Collectives.CudaIpc;
using TpServe.Kernels.Cuda;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests.CudaIpc;

/// <summary>The kernels of the cuda-ipc transport on emulated devices, against a local group.</summary>
public sealed class CudaIpcTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    [TestCase(2)]
    [TestCase(3)]
    public void Operations_RandomSequence_HaveTheBitsOfALocalGroup(int degree)
    {
        using EmulatedIpcGroup group = new(degree, s_timeout);
        using TestGroup local = TestGroup.Create("local", degree);
        group.Run((end, ops) =>
        {
            DeviceRank rank = new(end, ops, local.Ends[end.Rank]);
            Random agreed = new(degree), own = new(end.Rank);
            for (int i = 0; i < 50; i++)
            {
                end.BeginStep(i / 10);
                rank.Step(agreed.Next(DeviceRank.Operations), agreed, own, rows: agreed.Next(4), columns: agreed.Next(1, 200));
            }
            end.ThrowIfLost();
            end.Barrier();
        });
    }
}
