using TpServe.Checkpoint;
using TpServe.Kernels;

namespace TpServe.Model.Weights;

/// <summary>Rows [firstRow, firstRow + rows) of one matrix of a checkpoint, in plain order whatever order the file has.</summary>
internal sealed class TensorRows(ModelCheckpoint checkpoint, TensorInfo tensor, int firstRow, int rows, int headDim) : WeightRows
{
    private readonly int _rowBytes = checked((int)FormatOf(tensor).RowBytes(tensor.Shape[1]));

    /// <inheritdoc/>
    public override WeightFormat Format => FormatOf(tensor);

    /// <inheritdoc/>
    public override int Outputs => rows;

    /// <inheritdoc/>
    public override int FileColumns => tensor.Shape[1];

    /// <summary>The tensor they are rows of.</summary>
    public TensorInfo Tensor => tensor;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)output, (uint)rows, nameof(output));
        int row = FileRow(tensor.RowOrder, firstRow + output, headDim);
        return checkpoint.Bytes(tensor, (long)row * _rowBytes, _rowBytes);
    }

    /// <summary>What the kernels call a tensor's storage type: the numbers of both are GGML's.</summary>
    public static WeightFormat FormatOf(TensorInfo tensor) => (WeightFormat)tensor.Type;

    /// <summary>Where the file keeps row <paramref name="row"/> of the plain order.</summary>
    public static int FileRow(RowOrder order, int row, int headDim)
    {
        if (order == RowOrder.Plain)
            return row;
        (int head, int inHead) = Math.DivRem(row, headDim);
        (int half, int pair) = Math.DivRem(inHead, headDim / 2);
        return head * headDim + 2 * pair + half;
    }
}
