using System.Runtime.InteropServices;

namespace TpServe.Kernels.Reference;

/// <summary>Every operation as plain loops on host memory: the oracle of the other backends, and small models' way to run anywhere.</summary>
/// <remarks>
/// Numerics weights are decoded to float32 when packed, matrix products accumulate in float32, everything else in float64 rounded once;
///          so the bits depend neither on rows, threads nor partition.
/// Threads  runs every operation at the call, on the caller's thread.
/// </remarks>
public sealed class ReferenceBackend : ITensorBackend
{
    private readonly ScratchArena _scratch = new(bytes => new HostBuffer(bytes));

    /// <inheritdoc/>
    public string Description => "reference (plain loops), 1 thread";

    /// <inheritdoc/>
    public DeviceBuffer Allocate(long bytes) => new HostBuffer(bytes);

    /// <inheritdoc/>
    public Tensor Rent(int rows, int columns, ElementType type = ElementType.Float32) => _scratch.Rent(rows, columns, type);

    /// <inheritdoc/>
    public long Mark() => _scratch.Mark();

    /// <inheritdoc/>
    public void Release(long mark) => _scratch.Release(mark);

    /// <inheritdoc/>
    public void Upload<T>(ReadOnlySpan<T> source, Tensor destination) where T : unmanaged => HostTransfer.Upload(source, destination);

    /// <inheritdoc/>
    public void Download<T>(Tensor source, Span<T> destination) where T : unmanaged => HostTransfer.Download(source, destination);

    /// <inheritdoc/>
    public PackedWeight PackWeight(WeightRows rows, InputLeaves leaves)
    {
        ArgumentNullException.ThrowIfNull(rows);
        ArgumentNullException.ThrowIfNull(leaves);
        return new ReferenceWeight(rows, leaves);
    }

    /// <inheritdoc/>
    public void Linear(Tensor x, ReadOnlySpan<PackedWeight> parts, Tensor y)
    {
        int outputs = 0;
        foreach (PackedWeight part in parts)
        {
            Require.That(part.Leaves.Pieces == 1, $"A weight of {part.Leaves.Pieces} pieces has no single product.");
            Require.Shape(x, x.Rows, part.Leaves.Columns);
            outputs += part.Outputs;
        }
        Require.Shape(y, x.Rows, outputs);
        for (int row = 0; row < x.Rows; row++)
        {
            Span<float> target = y.HostSpan<float>(row);
            foreach (PackedWeight part in parts)
            {
                Own(part).Pieces(x.HostSpan<float>(row), target[..part.Outputs]);
                target = target[part.Outputs..];
            }
        }
    }

    /// <inheritdoc/>
    public void LinearPieces(Tensor x, PackedWeight weight, Tensor pieces)
    {
        ReferenceWeight own = Own(weight);
        int count = own.Leaves.Pieces;
        Require.Shape(x, x.Rows, own.Leaves.Columns);
        Require.Shape(pieces, count * x.Rows, own.Outputs);
        Require.Contiguous(pieces);
        float[] sums = new float[count * own.Outputs];
        for (int row = 0; row < x.Rows; row++)
        {
            own.Pieces(x.HostSpan<float>(row), sums);
            for (int piece = 0; piece < count; piece++)
                sums.AsSpan(piece * own.Outputs, own.Outputs).CopyTo(pieces.HostSpan<float>(piece * x.Rows + row));
        }
    }

    /// <inheritdoc/>
    public void Embed(Tensor tokenIds, PackedWeight table, int firstRow, float scale, Tensor y)
    {
        ReferenceWeight own = Own(table);
        Require.Shape(tokenIds, y.Rows, 1, ElementType.Int32);
        Require.Shape(y, y.Rows, own.Leaves.Columns);
        for (int row = 0; row < y.Rows; row++)
        {
            long local = (long)tokenIds.HostSpan<int>(row)[0] - firstRow;
            if (local >= 0 && local < own.Outputs)
                own.ScaledRow((int)local, scale, y.HostSpan<float>(row));
            else
                y.HostSpan<float>(row).Clear();
        }
    }

    /// <inheritdoc/>
    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor y) => ReferenceNorms.RmsNorm(x, weight, epsilon, y);

    /// <inheritdoc/>
    public bool HasLayerNorm => true;

    /// <inheritdoc/>
    public void LayerNorm(Tensor x, Tensor weight, Tensor? bias, float epsilon, Tensor y) => ReferenceNorms.LayerNorm(x, weight, bias, epsilon, y);

    /// <inheritdoc/>
    public void Activate(Tensor x, PlainActivation activation) => ReferenceElementwise.Activate(x, activation);

    /// <inheritdoc/>
    public void SumSquares(Tensor x, int dim, Tensor sums) => ReferenceNorms.SumSquares(x, dim, sums);

    /// <inheritdoc/>
    public void NormBySums(Tensor x, Tensor sums, int totalColumns, Tensor weight, float epsilon) =>
        ReferenceNorms.NormBySums(x, sums, totalColumns, weight, epsilon);

    /// <inheritdoc/>
    public void Rope(Tensor x, Tensor positions, Tensor table, int headDim) => ReferenceElementwise.Rope(x, positions, table, headDim);

    /// <inheritdoc/>
    public void StoreKv(Tensor k, Tensor v, Tensor slots, KvLayer cache) => ReferenceAttention.StoreKv(k, v, slots, cache);

    /// <inheritdoc/>
    public void Attention(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y) =>
        ReferenceAttention.Attention(q, cache, step, shape, y);

    /// <inheritdoc/>
    public void GatedActivation(Tensor x, Activation activation, Tensor y) => ReferenceElementwise.GatedActivation(x, activation, y);

    /// <inheritdoc/>
    public bool HasExperts => true;

    /// <inheritdoc/>
    public bool HasSinks => true;

    /// <inheritdoc/>
    public bool HasLatentCaches => true;

    /// <inheritdoc/>
    public void Route(Tensor logits, Tensor? correction, RouterShape shape, Tensor ids, Tensor weights) => ReferenceExperts.Route(logits, correction, shape, ids, weights);

    /// <inheritdoc/>
    public void ExpertPieces(Tensor x, Tensor ids, Tensor weights, ExpertMlp mlp, Tensor pieces) => ReferenceExperts.Pieces(x, ids, weights, mlp, pieces);

    /// <inheritdoc/>
    public bool HasLora => true;

    /// <inheritdoc/>
    public void LoraDown(Tensor x, ReadOnlyMemory<int> rows, Tensor a, InputLeaves leaves, Tensor pieces, int first, int total) =>
        ReferenceLora.Down(x, rows, a, leaves, pieces, first, total);

    /// <inheritdoc/>
    public void LoraUp(Tensor t, ReadOnlyMemory<int> rows, int firstRow, Tensor b, float scale, Tensor y) => ReferenceLora.Up(t, rows, firstRow, b, scale, y);

    /// <inheritdoc/>
    public void AddScaled(Tensor x, Tensor y, float scale) => ReferenceElementwise.AddScaled(x, y, scale);

    /// <inheritdoc/>
    public void AddRow(Tensor x, Tensor bias) => ReferenceElementwise.AddRow(x, bias);

    /// <inheritdoc/>
    public void Scale(Tensor x, float scale) => ReferenceElementwise.Scale(x, scale);

    /// <inheritdoc/>
    public void Softcap(Tensor x, float cap) => ReferenceElementwise.Softcap(x, cap);

    /// <inheritdoc/>
    public void GatherRows(Tensor x, Tensor rows, Tensor y) => ReferenceRows.GatherRows(x, rows, y);

    /// <inheritdoc/>
    public void Copy(Tensor x, Tensor y) => ReferenceRows.Copy(x, y);

    /// <inheritdoc/>
    public void TopK(Tensor x, int k, int firstId, Tensor values, Tensor ids) => ReferenceRows.TopK(x, k, firstId, values, ids);

    /// <inheritdoc/>
    public IRowSampler Sampler { get; } = new ReferenceSampler();

    /// <inheritdoc/>
    public void Dispose() => _scratch.Dispose();

    internal static ReferenceWeight Own(PackedWeight weight) =>
        weight as ReferenceWeight ?? throw new ArgumentException($"A {weight?.GetType().Name ?? "missing weight"} was not packed by this backend.");
}

/// <summary>Upload and download for backends whose device memory is the host's.</summary>
internal static unsafe class HostTransfer
{
    /// <summary>Copies the span over the tensor's elements.</summary>
    public static void Upload<T>(ReadOnlySpan<T> source, Tensor destination) where T : unmanaged =>
        MemoryMarshal.AsBytes(source).CopyTo(Elements(destination, (long)source.Length * sizeof(T)));

    /// <summary>Copies the tensor's elements over the span.</summary>
    public static void Download<T>(Tensor source, Span<T> destination) where T : unmanaged =>
        Elements(source, (long)destination.Length * sizeof(T)).CopyTo(MemoryMarshal.AsBytes(destination));

    private static Span<byte> Elements(Tensor tensor, long hostBytes)
    {
        Require.Contiguous(tensor);
        long bytes = (long)tensor.Rows * tensor.Columns * tensor.Type.SizeBytes();
        Require.That(bytes == hostBytes, $"{hostBytes} bytes on the host are not {tensor}.");
        return new Span<byte>(tensor.HostRow<byte>(0), checked((int)bytes));
    }
}
