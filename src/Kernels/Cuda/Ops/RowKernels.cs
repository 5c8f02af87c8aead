using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Ops;

/// <summary>y ← rows of x, all in order or those that a list names.</summary>
/// <remarks>
/// Shapes   as <see cref="ITensorBackend"/> states them; any element type, strided as they like.
/// Launch   groups of 128 threads, four units a thread; a unit is 16 bytes where both tensors allow it, else an element.
/// Cost     reads and writes every byte once: memory bound.
/// Errors   The rows of a list are on the device and are not checked: whoever made the list answers for them.
/// </remarks>
internal sealed class RowKernels(CudaQueue queue)
{
    private const int GroupSize = 128;
    private const int SegmentUnits = 4 * GroupSize;

    private readonly Action<KernelConfig, ArrayView<byte>, ArrayView<int>, ArrayView<byte>, int, int, long, long, int> _quads = Load<UInt4>(queue);
    private readonly Action<KernelConfig, ArrayView<byte>, ArrayView<int>, ArrayView<byte>, int, int, long, long, int> _words = Load<uint>(queue);
    private readonly Action<KernelConfig, ArrayView<byte>, ArrayView<int>, ArrayView<byte>, int, int, long, long, int> _halves = Load<ushort>(queue);

    /// <summary>y[i] = x[rows[i]].</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void Gather(Tensor x, Tensor rows, Tensor y)
    {
        Require.Shape(rows, y.Rows, 1, ElementType.Int32);
        Require.Shape(y, y.Rows, x.Columns, x.Type);
        Require.That(x.Rows > 0 || y.Rows == 0, $"{y} cannot be gathered from {x}.");
        Require.Contiguous(rows);
        Run(x, rows, y);
    }

    /// <summary>y ← x, row by row.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void Copy(Tensor x, Tensor y)
    {
        Require.Shape(y, x.Rows, x.Columns, x.Type);
        Run(x, null, y);
    }

    private static Action<KernelConfig, ArrayView<byte>, ArrayView<int>, ArrayView<byte>, int, int, long, long, int> Load<T>(CudaQueue queue) where T : unmanaged =>
        queue.Load<ArrayView<byte>, ArrayView<int>, ArrayView<byte>, int, int, long, long, int>(Kernel<T>);

    private void Run(Tensor x, Tensor? rows, Tensor y)
    {
        if (y.Rows == 0 || y.Columns == 0)
            return;
        if (DeviceViews.IsAligned(x, UInt4.Bytes) && DeviceViews.IsAligned(y, UInt4.Bytes))
            Launch(_quads, x, rows, y, UInt4.Bytes);
        else if (y.Type.SizeBytes() == sizeof(uint))
            Launch(_words, x, rows, y, sizeof(uint));
        else
            Launch(_halves, x, rows, y, sizeof(ushort));
    }

    private static void Launch(Action<KernelConfig, ArrayView<byte>, ArrayView<int>, ArrayView<byte>, int, int, long, long, int> launch, Tensor x, Tensor? rows, Tensor y, int unitBytes)
    {
        int size = y.Type.SizeBytes(), units = (int)((long)y.Columns * size / unitBytes), segments = (units + SegmentUnits - 1) / SegmentUnits;
        // A tensor of one row may have any stride; whole units step over it only where there is another row.
        launch(
            (y.Rows * segments, GroupSize), x.View<byte>(), rows?.View<int>() ?? default, y.View<byte>(), units, segments,
            (long)x.RowStride * size / unitBytes, (long)y.RowStride * size / unitBytes, rows is null ? 0 : 1);
    }

    [DeviceKernel(typeof(UInt4), Uses = "ld.global.v4")]
    [DeviceKernel(typeof(uint))]
    [DeviceKernel(typeof(ushort))]
    private static void Kernel<T>(ArrayView<byte> x, ArrayView<int> rows, ArrayView<byte> y, int units, int segments, long strideX, long strideY, int listed)
        where T : unmanaged
    {
        int row = Grid.IdxX / segments, first = Grid.IdxX % segments * SegmentUnits;
        long from = (listed != 0 ? rows[row] : row) * strideX, to = row * strideY;
        int end = first + SegmentUnits < units ? first + SegmentUnits : units;
        ArrayView<T> source = x.Cast<T>(), target = y.Cast<T>();
        for (int i = first + Group.IdxX; i < end; i += GroupSize)
            target[to + i] = source[from + i];
    }
}
