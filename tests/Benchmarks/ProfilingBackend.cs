using System.Diagnostics;
using TpServe.Kernels;

namespace TpServe.Benchmarks;

/// <summary>A backend that passes everything on and takes the time of each operation.</summary>
/// <remarks>
/// A step of L blocks has 2·L column-parallel products (qkv, gate and up) and 2·L row-parallel ones (output, down); further column-parallel ones are the head.
/// Numerics what runs is what would run without it: operations that the backend fuses are passed on fused.
/// Threads   the rank's thread.
/// </remarks>
internal sealed class ProfilingBackend(ITensorBackend inner, OperationClock clock, int layers) : ITensorBackend
{
    private int _columnParallel;
    private int _rowParallel;

    public string Description => inner.Description;

    public bool Records => inner.Records;

    public string? RecordingFault => inner.RecordingFault;

    public IRowSampler? Sampler => inner.Sampler;

    /// <summary>The products that follow are a new step's.</summary>
    public void BeginStep() => _columnParallel = _rowParallel = 0;

    public DeviceBuffer Allocate(long bytes) => inner.Allocate(bytes);

    public Tensor Rent(int rows, int columns, ElementType type) => inner.Rent(rows, columns, type);

    public HostBuffer AllocateStaging(long bytes) => inner.AllocateStaging(bytes);

    public T Recorded<T>(RecordingKey key, Func<T> work) => inner.Recorded(key, work);

    public void DropRecordings() => inner.DropRecordings();

    public long Mark() => inner.Mark();

    public void Release(long mark) => inner.Release(mark);

    public PackedWeight PackWeight(WeightRows rows, InputLeaves leaves) => inner.PackWeight(rows, leaves);

    public void Upload<T>(ReadOnlySpan<T> source, Tensor destination) where T : unmanaged
    {
        long start = Start();
        inner.Upload(source, destination);
        Stop(Operation.Transfer, start, 2 * Bytes(destination));
    }

    public void Download<T>(Tensor source, Span<T> destination) where T : unmanaged
    {
        long start = Start();
        inner.Download(source, destination);
        Stop(Operation.Transfer, start, 2 * Bytes(source));
    }

    public void Linear(Tensor x, ReadOnlySpan<PackedWeight> parts, Tensor y)
    {
        Operation operation = _columnParallel++ is int call && call >= 2 * layers ? Operation.Head : call % 2 == 0 ? Operation.Qkv : Operation.GateUp;
        long start = Start();
        inner.Linear(x, parts, y);
        double bytes = 0, flops = 0;
        foreach (PackedWeight part in parts)
        {
            bytes += part.Bytes;
            flops += 2.0 * x.Rows * x.Columns * part.Outputs;
        }
        Stop(operation, start, bytes, flops);
    }

    public void LinearPieces(Tensor x, PackedWeight weight, Tensor pieces)
    {
        Operation operation = _rowParallel++ % 2 == 0 ? Operation.Output : Operation.Down;
        long start = Start();
        inner.LinearPieces(x, weight, pieces);
        Stop(operation, start, weight.Bytes, 2.0 * x.Rows * x.Columns * weight.Outputs);
    }

    public bool HasExperts => inner.HasExperts;

    public bool HasSinks => inner.HasSinks;

    public bool HasLatentCaches => inner.HasLatentCaches;

    public void Route(Tensor logits, Tensor? correction, RouterShape shape, Tensor ids, Tensor weights)
    {
        long start = Start();
        inner.Route(logits, correction, shape, ids, weights);
        Stop(Operation.GateUp, start, Bytes(logits));
    }

    /// <summary>The bytes are those of experts that differ: at most one for each row and choice.</summary>
    public void ExpertPieces(Tensor x, Tensor ids, Tensor weights, ExpertMlp mlp, Tensor pieces)
    {
        _rowParallel++;
        long start = Start();
        inner.ExpertPieces(x, ids, weights, mlp, pieces);
        ExpertStack routed = mlp.Routed;
        double distinct = routed.Count * (1 - Math.Pow(1 - ((double)ids.Columns / routed.Count), x.Rows));
        double bytes = (routed.Gate.Bytes + routed.Up.Bytes + routed.Down.Bytes) * distinct / routed.Count;
        Stop(Operation.Mlp, start, bytes, 6.0 * x.Rows * ids.Columns * x.Columns * routed.Columns);
    }

    public void Embed(Tensor tokenIds, PackedWeight table, int firstRow, float scale, Tensor y)
    {
        long start = Start();
        inner.Embed(tokenIds, table, firstRow, scale, y);
        Stop(Operation.Embed, start, Bytes(y));
    }

    public bool HasLayerNorm => inner.HasLayerNorm;

    public void LayerNorm(Tensor x, Tensor weight, Tensor? bias, float epsilon, Tensor y)
    {
        long start = Start();
        inner.LayerNorm(x, weight, bias, epsilon, y);
        Stop(Operation.RmsNorm, start, Bytes(x) + Bytes(y));
    }

    public void Activate(Tensor x, PlainActivation activation)
    {
        long start = Start();
        inner.Activate(x, activation);
        Stop(Operation.Elementwise, start, 2 * Bytes(x));
    }

    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor y)
    {
        long start = Start();
        inner.RmsNorm(x, weight, epsilon, y);
        Stop(Operation.RmsNorm, start, Bytes(x) + Bytes(y));
    }

    public void AddNorm(Tensor x, Tensor y, float scale, Tensor weight, float epsilon, Tensor normed)
    {
        long start = Start();
        inner.AddNorm(x, y, scale, weight, epsilon, normed);
        Stop(Operation.AddNorm, start, (2 * Bytes(x)) + Bytes(y) + Bytes(normed));
    }

    public void SumSquares(Tensor x, int dim, Tensor sums)
    {
        long start = Start();
        inner.SumSquares(x, dim, sums);
        Stop(Operation.RmsNorm, start, Bytes(x));
    }

    public void NormBySums(Tensor x, Tensor sums, int totalColumns, Tensor weight, float epsilon)
    {
        long start = Start();
        inner.NormBySums(x, sums, totalColumns, weight, epsilon);
        Stop(Operation.RmsNorm, start, 2 * Bytes(x));
    }

    public void Rope(Tensor x, Tensor positions, Tensor table, int headDim)
    {
        long start = Start();
        inner.Rope(x, positions, table, headDim);
        Stop(Operation.RopeStoreKv, start, 2 * Bytes(x));
    }

    public void StoreKv(Tensor k, Tensor v, Tensor slots, KvLayer cache)
    {
        long start = Start();
        inner.StoreKv(k, v, slots, cache);
        Stop(Operation.RopeStoreKv, start, Bytes(k) + Bytes(v));
    }

    public void RopeStoreKv(Tensor q, Tensor k, Tensor v, Tensor positions, Tensor table, int headDim, Tensor slots, KvLayer cache)
    {
        long start = Start();
        inner.RopeStoreKv(q, k, v, positions, table, headDim, slots, cache);
        Stop(Operation.RopeStoreKv, start, (2 * Bytes(q)) + (2 * Bytes(k)) + Bytes(v));
    }

    /// <summary>What it reads and computes follows from the positions, which the caller of the step knows.</summary>
    public void Attention(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y)
    {
        long start = Start();
        inner.Attention(q, cache, step, shape, y);
        Stop(Operation.Attention, start);
    }

    public void GatedActivation(Tensor x, Activation activation, Tensor y)
    {
        long start = Start();
        inner.GatedActivation(x, activation, y);
        Stop(Operation.GatedActivation, start, Bytes(x) + Bytes(y));
    }

    public void GatedPieces(Tensor x, ReadOnlySpan<PackedWeight> gateUp, Activation activation, PackedWeight down, Tensor pieces)
    {
        _columnParallel++;
        _rowParallel++;
        long start = Start();
        inner.GatedPieces(x, gateUp, activation, down, pieces);
        double bytes = down.Bytes, flops = 2.0 * x.Rows * down.Leaves.Columns * down.Outputs;
        foreach (PackedWeight part in gateUp)
        {
            bytes += part.Bytes;
            flops += 2.0 * x.Rows * x.Columns * part.Outputs;
        }
        Stop(Operation.Mlp, start, bytes, flops);
    }

    public void AddScaled(Tensor x, Tensor y, float scale)
    {
        long start = Start();
        inner.AddScaled(x, y, scale);
        Stop(Operation.AddNorm, start, (2 * Bytes(x)) + Bytes(y));
    }

    public void AddRow(Tensor x, Tensor bias)
    {
        long start = Start();
        inner.AddRow(x, bias);
        Stop(Operation.Elementwise, start, 2 * Bytes(x));
    }

    public void Scale(Tensor x, float scale)
    {
        long start = Start();
        inner.Scale(x, scale);
        Stop(Operation.Elementwise, start, 2 * Bytes(x));
    }

    public void Softcap(Tensor x, float cap)
    {
        long start = Start();
        inner.Softcap(x, cap);
        Stop(Operation.Elementwise, start, 2 * Bytes(x));
    }

    public void GatherRows(Tensor x, Tensor rows, Tensor y)
    {
        long start = Start();
        inner.GatherRows(x, rows, y);
        Stop(Operation.CopyRows, start, 2 * Bytes(y));
    }

    public void Copy(Tensor x, Tensor y)
    {
        long start = Start();
        inner.Copy(x, y);
        Stop(Operation.CopyRows, start, 2 * Bytes(y));
    }

    public void TopK(Tensor x, int k, int firstId, Tensor values, Tensor ids)
    {
        long start = Start();
        inner.TopK(x, k, firstId, values, ids);
        Stop(Operation.TopK, start, Bytes(x));
    }

    /// <summary>The backend is its maker's.</summary>
    public void Dispose()
    {
    }

    private static double Bytes(Tensor tensor) => (double)tensor.Rows * tensor.Columns * tensor.Type.SizeBytes();

    private long Start() => clock.IsOn ? Stopwatch.GetTimestamp() : 0;

    private void Stop(Operation operation, long start, double bytes = 0, double flops = 0)
    {
        if (clock.IsOn)
            clock.Add(operation, start, bytes, flops);
    }
}
