using System.Globalization;
using System.Runtime.InteropServices;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Kernels;
using TpServe.Kernels.Reference;
using TpServe.Model.Families;
using TpServe.Model.Layers;
using TpServe.Sharding;

namespace TpServe.Model.Weights;

/// <summary>Packs the projections of latent attention: what is replicated whole, of the rest this rank's heads.</summary>
/// <remarks>
/// A head's keys are wanted turned, [KvRank, PlainDim]. Newer GGUF files hold them so; else they are turned here, in their own type where it is a plain
/// float, in float32 where blocks lie along the other axis, which holds every value exactly. bfloat16 is held as float32 too: the
/// absorbed form has one product more between a row and its scores, each of which would round what it reads to bfloat16.
/// </remarks>
internal sealed class LatentLoader(ModelCheckpoint checkpoint, ShardPlan plan, RankWeights weights, BlockTensors names, ITensorBackend ops)
{
    private readonly ModelConfig _config = checkpoint.Config;
    private readonly LatentConfig _latent = checkpoint.Config.Latent!;

    /// <summary>The projections of a block; null where this rank has no heads.</summary>
    public LatentProjections? Of(string block)
    {
        if (plan.LocalHeads == 0)
            return null;
        (ColumnParallelLinear? down, RmsNorm? norm, string query) = (null, null, names.Query);
        if (_latent.QueryRank > 0)
        {
            string name = $"{block}{names.LatentQuery.Down}.weight";
            down = Linear([new LatentRows(checkpoint, weights.Whole(name), "whole", 0, _latent.QueryRank, row => row)], name);
            norm = Norm($"{block}{names.LatentQuery.Norm}.weight");
            query = names.LatentQuery.Up;
        }
        (PackedWeight[] keys, PackedWeight[] values) = Heads(block);
        string rowName = $"{block}{names.LatentRow.Down}.weight";
        LatentRows latentRow = new(checkpoint, weights.Whole(rowName), "rows", 0, _latent.RowDim, row => row < _latent.KvRank ? row : _latent.KvRank + Rotated(row - _latent.KvRank));
        return new LatentProjections(down, norm, Query($"{block}{query}.weight"), Linear([latentRow], rowName), Norm($"{block}{names.LatentRow.Norm}.weight"), keys, values);
    }

    private RmsNorm Norm(string name) => new(weights.Vector(name), _config.NormEpsilon, ops);

    private ColumnParallelLinear Linear(IEnumerable<TensorRows> parts, string name) => new([weights.Packed([.. parts.Select(Widened)], [name])], null, ops);

    private TensorRows Widened(TensorRows rows) => rows.Format is WeightFormat.BF16 ? new WideRows(checkpoint, rows) : rows;

    /// <summary>Plain rows of all heads, then rotated ones in the order of the rotary embedding.</summary>
    private ColumnParallelLinear Query(string name)
    {
        TensorInfo tensor = weights.Whole(name);
        int plain = _latent.PlainDim, rope = _latent.RopeDim, dim = _latent.QueryDim;
        return Linear(
            [
                new LatentRows(checkpoint, tensor, "plain", plan.FirstHead * plain, plan.LocalHeads * plain, row => (row / plain * dim) + (row % plain)),
                new LatentRows(checkpoint, tensor, "rotated", plan.FirstHead * rope, plan.LocalHeads * rope, row => (row / rope * dim) + plain + Rotated(row % rope)),
            ],
            name);
    }

    private int Rotated(int row) => TensorRows.FileRow(_latent.NeighboursRotate ? RowOrder.InterleavedPairs : RowOrder.Plain, row, _latent.RopeDim, _latent.RopeDim);

    private (PackedWeight[] Keys, PackedWeight[] Values) Heads(string block)
    {
        PackedWeight[] keys = new PackedWeight[plan.LocalHeads], values = new PackedWeight[plan.LocalHeads];
        bool isTurned = ExpectedLatent.IsTurned(block, names, checkpoint.Tensors);
        string keyName = $"{block}{(isTurned ? names.LatentHeads.Keys : names.LatentRow.Up)}.weight", valueName = isTurned ? $"{block}{names.LatentHeads.Values}.weight" : keyName;
        int rank = _latent.KvRank, stride = isTurned ? _latent.ValueDim : _latent.KeyValueDim, origin = isTurned ? 0 : _latent.PlainDim;
        for (int i = 0; i < keys.Length; i++)
        {
            int head = plan.FirstHead + i;
            bool isLast = i == keys.Length - 1;
            TensorRows rows = isTurned
                ? new LatentRows(checkpoint, weights.Whole(keyName), "keys", head * rank, rank, row => row)
                : new TurnedRows(checkpoint, weights.Whole(keyName), head, head * _latent.KeyValueDim, _latent.PlainDim);
            keys[i] = weights.Packed([Widened(rows)], isLast && isTurned ? [keyName] : []);
            LatentRows value = new(
                checkpoint, weights.Whole(valueName), "values", head * _latent.ValueDim, _latent.ValueDim, row => (row / _latent.ValueDim * stride) + origin + (row % _latent.ValueDim));
            values[i] = weights.Packed([Widened(value)], isLast ? [valueName] : []);
        }
        return (keys, values);
    }
}

/// <summary>The tensors that latent attention must have before its output projection.</summary>
internal static class ExpectedLatent
{
    /// <summary>True where the file has keys turned and apart from values.</summary>
    public static bool IsTurned(string block, BlockTensors names, IReadOnlyDictionary<string, TensorInfo>? found) => found?.ContainsKey($"{block}{names.LatentHeads.Keys}.weight") == true;

    /// <summary>All of them in loading order.</summary>
    public static IEnumerable<ExpectedTensor> Of(string block, ModelConfig config, LatentConfig latent, BlockTensors names, IReadOnlyDictionary<string, TensorInfo>? found)
    {
        int queries = config.Heads * latent.QueryDim;
        if (latent.QueryRank > 0)
        {
            yield return new($"{block}{names.LatentQuery.Down}.weight", [latent.QueryRank, config.Hidden], [WeightRole.Replicated]);
            yield return new($"{block}{names.LatentQuery.Norm}.weight", [latent.QueryRank], [WeightRole.Replicated]);
            yield return new($"{block}{names.LatentQuery.Up}.weight", [queries, latent.QueryRank], [WeightRole.Query]);
        }
        else
        {
            yield return new($"{block}{names.Query}.weight", [queries, config.Hidden], [WeightRole.Query]);
        }
        yield return new($"{block}{names.LatentRow.Down}.weight", [latent.RowDim, config.Hidden], [WeightRole.Replicated]);
        yield return new($"{block}{names.LatentRow.Norm}.weight", [latent.KvRank], [WeightRole.Replicated]);
        if (IsTurned(block, names, found))
        {
            yield return new($"{block}{names.LatentHeads.Keys}.weight", [config.Heads, latent.KvRank, latent.PlainDim], [WeightRole.LatentHeads]);
            yield return new($"{block}{names.LatentHeads.Values}.weight", [config.Heads, latent.ValueDim, latent.KvRank], [WeightRole.LatentHeads]);
        }
        else
        {
            yield return new($"{block}{names.LatentRow.Up}.weight", [config.Heads * latent.KeyValueDim, latent.KvRank], [WeightRole.LatentHeads]);
        }
    }
}

/// <summary>Rows of one kind out of a tensor that has several in an order of its own.</summary>
/// <param name="checkpoint">The opened model.</param>
/// <param name="tensor">Where they are.</param>
/// <param name="part">Which kind: rows of the same part and number are the same.</param>
/// <param name="first">The first wanted, among the rows of its kind.</param>
/// <param name="rows">How many.</param>
/// <param name="fileRow">Where the tensor has a row of the kind.</param>
internal sealed class LatentRows(ModelCheckpoint checkpoint, TensorInfo tensor, string part, int first, int rows, Func<int, int> fileRow)
    : TensorRows(checkpoint, tensor, first, rows, 0)
{
    private readonly TensorRows _whole = Of(checkpoint, tensor, 0, checked((int)tensor.Shape.SkipLast(1).Aggregate(1L, (product, extent) => product * extent)), 0);

    /// <inheritdoc/>
    public override string Source => $"{Tensor.Name} {part}";

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output) => _whole.Row(fileRow(FirstRow + output));

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Part(int output, int start, int length) => _whole.Part(fileRow(FirstRow + output), start, length);

    /// <inheritdoc/>
    /// <remarks>Nothing: kinds take turns in a page.</remarks>
    public override void Expect()
    {
    }

    /// <inheritdoc/>
    /// <remarks>Nothing, for the same reason.</remarks>
    public override void Release(int first, int count)
    {
    }
}

/// <summary>Rows of bfloat16 in float32.</summary>
internal sealed class WideRows(ModelCheckpoint checkpoint, TensorRows rows) : TensorRows(checkpoint, rows.Tensor, rows.FirstRow, rows.Outputs, 0)
{
    /// <inheritdoc/>
    public override WeightFormat Format => WeightFormat.F32;

    /// <inheritdoc/>
    public override string Source => rows.Source;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output)
    {
        float[] values = new float[FileColumns];
        Dequantize.Row(rows.Format, rows.Row(output), values);
        return MemoryMarshal.AsBytes(values.AsSpan());
    }

    /// <inheritdoc/>
    public override void Release(int first, int count) => rows.Release(first, count);
}

/// <summary>Some neighbouring rows of a matrix, turned: row i is their column i.</summary>
/// <remarks>Threads   a row may be asked for on any; the first one turns them all.</remarks>
internal sealed class TurnedRows : TensorRows
{
    private readonly TensorRows _source;
    private readonly int _head;
    private readonly Lazy<byte[]> _turned;

    /// <summary>Rows [first, first + count) of the tensor.</summary>
    public TurnedRows(ModelCheckpoint checkpoint, TensorInfo tensor, int head, int first, int count)
        : base(checkpoint, tensor, 0, tensor.Shape[^1], 0)
    {
        (_source, _head, FileColumns) = (Of(checkpoint, tensor, first, count, 0), head, count);
        _turned = new Lazy<byte[]>(Turn);
    }

    /// <inheritdoc/>
    public override WeightFormat Format => Tensor.Type is TensorType.F16 ? WeightFormat.F16 : WeightFormat.F32;

    /// <inheritdoc/>
    public override int FileColumns { get; }

    /// <inheritdoc/>
    public override string Source => string.Create(CultureInfo.InvariantCulture, $"{Tensor.Name} keys {_head}");

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output)
    {
        int bytes = (int)Format.RowBytes(FileColumns);
        return _turned.Value.AsSpan(output * bytes, bytes);
    }

    /// <inheritdoc/>
    public override void Release(int first, int count)
    {
    }

    private byte[] Turn()
    {
        byte[] turned = new byte[Outputs * Format.RowBytes(FileColumns)];
        if (Format is WeightFormat.F32)
        {
            float[] row = new float[Outputs];
            for (int column = 0; column < FileColumns; column++)
            {
                Dequantize.Row(FormatOf(Tensor), _source.Row(column), row);
                Scatter<float>(row, MemoryMarshal.Cast<byte, float>(turned.AsSpan()), column);
            }
            return turned;
        }
        for (int column = 0; column < FileColumns; column++)
            Scatter(MemoryMarshal.Cast<byte, ushort>(_source.Row(column)), MemoryMarshal.Cast<byte, ushort>(turned.AsSpan()), column);
        return turned;
    }

    private void Scatter<T>(ReadOnlySpan<T> row, Span<T> turned, int column) where T : unmanaged
    {
        for (int i = 0; i < row.Length; i++)
            turned[(i * FileColumns) + column] = row[i];
    }
}
