using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>A matrix in the device's layout: tiles of 16 outputs, in each its blocks of 32 inputs in the order of the plan, in each its codes and scales.</summary>
internal sealed class CudaPackedWeight(WeightFormat format, int outputs, LinearPlan plan, DeviceMemory memory) : PackedWeight
{
    /// <summary>Outputs of a tile.</summary>
    public const int TileOutputs = 16;

    private bool _disposed;

    /// <inheritdoc/>
    public override WeightFormat Format => format;

    /// <inheritdoc/>
    public override int Outputs => outputs;

    /// <inheritdoc/>
    public override InputLeaves Leaves => plan.Leaves;

    /// <inheritdoc/>
    public override long Bytes => memory.Bytes;

    /// <summary>The order of its sums.</summary>
    public LinearPlan Plan => plan;

    /// <summary>Tiles of 16 outputs, the last one padded with zeros.</summary>
    public int Tiles => (outputs + TileOutputs - 1) / TileOutputs;

    /// <summary>The tiles as kernels see them.</summary>
    /// <exception cref="ObjectDisposedException">The weight was disposed.</exception>
    public ILGPU.ArrayView<uint> Words
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return memory.View.Cast<uint>();
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (!disposing || _disposed)
            return;
        _disposed = true;
        memory.Dispose();
    }
}
