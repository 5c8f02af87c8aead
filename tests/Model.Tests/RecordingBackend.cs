using NUnit.Framework;
using TpServe.Kernels;

namespace TpServe.Model.Tests;

/// <summary>A backend that claims to record: it runs the work every time, and fails where a repetition rents other memory than the first run.</summary>
/// <remarks>What a graph replays are addresses, so a recorded step must rent the same ones again.</remarks>
internal sealed class RecordingBackend(ITensorBackend inner) : ITensorBackend
{
    private readonly Dictionary<RecordingKey, List<(DeviceBuffer, long)>> _rented = [];
    private List<(DeviceBuffer Buffer, long Offset)>? _recording;

    /// <summary>Keys seen, and how often work was run under one of them again.</summary>
    public (int Keys, int Replays) Counts { get; private set; }

    public string Description => inner.Description;

    public bool Records => true;

    public T Recorded<T>(RecordingKey key, Func<T> work)
    {
        _recording = [];
        T result = work();
        if (_rented.TryGetValue(key, out List<(DeviceBuffer, long)>? before))
            Assert.That(_recording, Is.EqualTo(before), $"{key} rented other memory");
        Counts = before is null ? (Counts.Keys + 1, Counts.Replays) : (Counts.Keys, Counts.Replays + 1);
        _rented[key] = _recording;
        _recording = null;
        return result;
    }

    public DeviceBuffer Allocate(long bytes) => inner.Allocate(bytes);

    public Tensor Rent(int rows, int columns, ElementType type = ElementType.Float32)
    {
        Tensor tensor = inner.Rent(rows, columns, type);
        _recording?.Add((tensor.Buffer, tensor.OffsetBytes));
        return tensor;
    }

    public long Mark() => inner.Mark();

    public void Release(long mark) => inner.Release(mark);

    public void Upload<T>(ReadOnlySpan<T> source, Tensor destination) where T : unmanaged
    {
        Assert.That(_recording, Is.Null, "a recorded step copies nothing from the host");
        inner.Upload(source, destination);
    }

    public void Download<T>(Tensor source, Span<T> destination) where T : unmanaged
    {
        Assert.That(_recording, Is.Null, "a recorded step waits for nothing");
        inner.Download(source, destination);
    }

    public PackedWeight PackWeight(WeightRows rows, InputLeaves leaves) => inner.PackWeight(rows, leaves);

    public void Linear(Tensor x, ReadOnlySpan<PackedWeight> parts, Tensor y) => inner.Linear(x, parts, y);

    public void LinearPieces(Tensor x, PackedWeight weight, Tensor pieces) => inner.LinearPieces(x, weight, pieces);

    public void Embed(Tensor tokenIds, PackedWeight table, int firstRow, float scale, Tensor y) => inner.Embed(tokenIds, table, firstRow, scale, y);

    public bool HasLayerNorm => inner.HasLayerNorm;

    public void LayerNorm(Tensor x, Tensor weight, Tensor? bias, float epsilon, Tensor y) => inner.LayerNorm(x, weight, bias, epsilon, y);

    public void Activate(Tensor x, PlainActivation activation) => inner.Activate(x, activation);

    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor y) => inner.RmsNorm(x, weight, epsilon, y);

    public void SumSquares(Tensor x, int dim, Tensor sums) => inner.SumSquares(x, dim, sums);

    public void NormBySums(Tensor x, Tensor sums, int totalColumns, Tensor weight, float epsilon) => inner.NormBySums(x, sums, totalColumns, weight, epsilon);

    public void Rope(Tensor x, Tensor positions, Tensor table, int headDim) => inner.Rope(x, positions, table, headDim);

    public void StoreKv(Tensor k, Tensor v, Tensor slots, KvLayer cache) => inner.StoreKv(k, v, slots, cache);

    public void Attention(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y) => inner.Attention(q, cache, step, shape, y);

    public void GatedActivation(Tensor x, Activation activation, Tensor y) => inner.GatedActivation(x, activation, y);

    public bool HasExperts => inner.HasExperts;

    public bool HasSinks => inner.HasSinks;

    public bool HasLatentCaches => inner.HasLatentCaches;

    public void Route(Tensor logits, Tensor? correction, RouterShape shape, Tensor ids, Tensor weights) => inner.Route(logits, correction, shape, ids, weights);

    public void ExpertPieces(Tensor x, Tensor ids, Tensor weights, ExpertMlp mlp, Tensor pieces) => inner.ExpertPieces(x, ids, weights, mlp, pieces);

    public void AddScaled(Tensor x, Tensor y, float scale) => inner.AddScaled(x, y, scale);

    public void AddRow(Tensor x, Tensor bias) => inner.AddRow(x, bias);

    public void Scale(Tensor x, float scale) => inner.Scale(x, scale);

    public void Softcap(Tensor x, float cap) => inner.Softcap(x, cap);

    public void GatherRows(Tensor x, Tensor rows, Tensor y) => inner.GatherRows(x, rows, y);

    public void Copy(Tensor x, Tensor y) => inner.Copy(x, y);

    public void TopK(Tensor x, int k, int firstId, Tensor values, Tensor ids) => inner.TopK(x, k, firstId, values, ids);

    public IRowSampler? Sampler => inner.Sampler;

    public void Dispose() => inner.Dispose();
}
