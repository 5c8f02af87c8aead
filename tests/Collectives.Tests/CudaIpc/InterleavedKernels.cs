using ILGPU;
using TpServe.Collectives.CudaIpc;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Collectives.Tests.CudaIpc;

/// <summary>The kernels of three ranks as one launch, so that a single machine can interleave them: the second dimension of the grid is the rank.</summary>
internal static class InterleavedKernels
{
    [DeviceKernel]
    private static void Sums(IpcView view0, IpcView view1, IpcView view2, IpcSum sum0, IpcSum sum1, IpcSum sum2)
    {
        if (Grid.IdxY == 0)
            IpcSumKernel.SumKernel(view0, sum0);
        else if (Grid.IdxY == 1)
            IpcSumKernel.SumKernel(view1, sum1);
        else
            IpcSumKernel.SumKernel(view2, sum2);
    }

    [DeviceKernel]
    private static void Moves(IpcView view0, IpcView view1, IpcView view2, IpcMove move0, IpcMove move1, IpcMove move2)
    {
        if (Grid.IdxY == 0)
            IpcMoveKernel.MoveKernel(view0, move0);
        else if (Grid.IdxY == 1)
            IpcMoveKernel.MoveKernel(view1, move1);
        else
            IpcMoveKernel.MoveKernel(view2, move2);
    }
}
