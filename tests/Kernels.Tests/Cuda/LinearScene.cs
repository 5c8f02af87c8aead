using TpServe.Kernels.Cuda;
using TpServe.Kernels.Tests.Cpu;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>One product on a device, with strided input and, where it may be, strided output.</summary>
internal static class LinearScene
{
    /// <summary>[pieces · rows, outputs].</summary>
    public static float[] Product(CudaBackend backend, DeviceTensors device, LinearWeights weights, InputLeaves leaves, float[] x, int rows)
    {
        using PackedWeight weight = backend.PackWeight(weights, leaves);
        Tensor input = device.Of(x, rows, leaves.Columns, gap: 3);
        Tensor y = device.Empty(rows * leaves.Pieces, weights.Outputs, gap: leaves.Pieces == 1 ? 5 : 0);
        if (leaves.Pieces == 1)
            backend.Linear(input, [weight], y);
        else
            backend.LinearPieces(input, weight, y);
        return device.Values(y);
    }

    /// <summary>Columns [from, to) of every row.</summary>
    public static float[] Slice(float[] x, int rows, int columns, int from, int to) =>
        [.. Enumerable.Range(0, rows).SelectMany(row => x[((row * columns) + from)..((row * columns) + to)])];
}
