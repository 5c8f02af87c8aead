using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>Rotary embedding in place: (a, b) ← (a·cos − b·sin, b·cos + a·sin) over pairs (i, i + rotary/2) of every head.</summary>
/// <remarks>
/// Shapes   x [n, heads · headDim], strided; table [positions, rotary]: cosines, then sines.
/// Launch   a thread a pair, striding over the grid; no limits. A position that is not in the table leaves its row as it is.
/// Numerics one rounded product and one fused multiply-add for each result, as on the CPU.
/// Cost     reads and writes 4 · n · heads · rotary bytes: memory bound.
/// Source   Su et al. 2021, in the half-split form of the Hugging Face checkpoints.
/// Oracle   the reference backend (float64), NMSE ≤ 1e-13.
/// </remarks>
internal sealed class RotaryKernels(CudaQueue queue)
{
    private const int GroupSize = 128;
    private readonly Action<KernelConfig, ArrayView<float>, ArrayView<int>, RotaryTableView, int, int, int, int> _rope =
        queue.Load<ArrayView<float>, ArrayView<int>, RotaryTableView, int, int, int, int>(RopeKernel);

    /// <summary>Rotates every head of every row by the row's position.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void Rope(Tensor x, Tensor positions, Tensor table, int headDim)
    {
        Require.Groups(x, headDim);
        Require.Type(x, ElementType.Float32);
        Require.Shape(positions, x.Rows, 1, ElementType.Int32);
        Require.Contiguous(positions);
        RotaryTableView view = new(table, headDim);
        int heads = x.Columns / headDim;
        int pairs = x.Rows * heads * view.Half;
        if (pairs > 0)
            _rope(Groups(queue, pairs), x.View<float>(), positions.View<int>(), view, x.Rows, heads, headDim, x.RowStride);
    }

    /// <summary>Enough groups for so many items; on the emulated device, where a group costs more than its work, only a few.</summary>
    public static KernelConfig Groups(CudaQueue queue, int items) => (Math.Min((items + GroupSize - 1) / GroupSize, queue.IsEmulated ? 2 : 1 << 16), GroupSize);

    [DeviceKernel]
    private static void RopeKernel(ArrayView<float> x, ArrayView<int> positions, RotaryTableView table, int rows, int heads, int headDim, int stride)
    {
        int pairs = rows * heads * table.Half;
        for (int i = Grid.IdxX * Group.DimX + Group.IdxX; i < pairs; i += Grid.DimX * Group.DimX)
        {
            int pair = i % table.Half, head = i / table.Half % heads, row = i / table.Half / heads;
            int place = row * stride + head * headDim + pair;
            RotaryTableView.Rotate(table, positions[row], pair, x, place);
        }
    }
}
