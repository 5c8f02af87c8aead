using System.Runtime.Intrinsics;
using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Emit;
using TpServe.Kernels.Cpu.Ops;
using TpServe.Kernels.Reference;
using TpServe.Testing;

namespace TpServe.Kernels.Tests;

/// <summary>Shape of an attention test.</summary>
/// <param name="HeadDim">Elements of a head.</param>
/// <param name="KvHeads">KV heads on the rank.</param>
/// <param name="Group">Query heads of each KV head; unused where KvHeadOfHead is given.</param>
public sealed record AttentionSettings(int HeadDim, int KvHeads, int Group)
{
    /// <summary>Tokens of a block.</summary>
    public int BlockTokens { get; init; } = 16;

    /// <summary>Sliding window; 0 = none.</summary>
    public int Window { get; init; }

    /// <summary>Soft cap; 0 = none.</summary>
    public float Softcap { get; init; }

    /// <summary>Type of the cache.</summary>
    public ElementType Type { get; init; } = ElementType.Float16;

    /// <summary>Order of the physical blocks.</summary>
    public int BlockSeed { get; init; } = 1;

    /// <summary>True where each head has a sink.</summary>
    public bool Sinks { get; init; }

    /// <summary>The map of heads.</summary>
    public int[]? KvHeadOfHead { get; init; }

    /// <summary>The contract's record of this shape.</summary>
    public AttentionShape Shape => new(
        HeadDim, KvHeadOfHead ?? [.. Enumerable.Range(0, KvHeads * Group).Select(head => head / Group)], 1f / MathF.Sqrt(HeadDim), Softcap, Window);
}

/// <summary>Sequences with random keys, values and queries, cached both by the CPU operations and by the oracle in shuffled blocks.</summary>
/// <remarks>A token's numbers depend on its sequence and position alone, so any batching of rows has an expected answer.</remarks>
public sealed class AttentionScene : IDisposable
{
    private readonly AttentionSettings _settings;
    private readonly int[] _lengths;
    private readonly HostTensors _tensors = new();
    private readonly ReferenceBackend _oracle = new();
    private readonly AttentionShape _shape;
    private readonly Tensor _tables;
    private readonly KvLayer _cache;
    private readonly KvLayer _oracleCache;
    private readonly CpuThreads _storeThreads = new(1);

    public AttentionScene(AttentionSettings settings, int[] lengths)
    {
        _settings = settings;
        _lengths = lengths;
        _shape = settings.Shape;
        if (settings.Sinks)
            _shape = _shape with { Sinks = _tensors.Of([.. Numbers.Uniform(_shape.KvHeadOfHead.Count, seed: 9).Select(value => 6 * value)], 1, _shape.KvHeadOfHead.Count) };
        int blockTokens = settings.BlockTokens, blocks = lengths.Sum(length => (length + blockTokens - 1) / blockTokens) + 3;
        int[] order = [.. Enumerable.Range(0, blocks)];
        new Random(settings.BlockSeed).Shuffle(order);
        int next = 0;

        // One column more than any sequence needs, so that there is always an unused entry.
        _tables = _tensors.Empty(lengths.Length, lengths.Max(length => (length + blockTokens - 1) / blockTokens) + 1, ElementType.Int32, gap: 2);
        for (int sequence = 0; sequence < lengths.Length; sequence++)
        {
            Span<int> table = _tables.HostSpan<int>(sequence);
            table.Fill(-1);
            for (int block = 0; block < (lengths[sequence] + blockTokens - 1) / blockTokens; block++)
                table[block] = order[next++];
        }
        _cache = NewCache(blocks);
        _oracleCache = NewCache(blocks);
        List<(int Sequence, int Position)> all = Everything();
        Tensor k = Random(all, settings.KvHeads, salt: 1), v = Random(all, settings.KvHeads, salt: 2), slots = Slots(all);
        StoreKv.Run(_storeThreads, k, v, slots, _cache);
        _oracle.StoreKv(k, v, slots, _oracleCache);
    }

    /// <summary>Every token of every sequence.</summary>
    public List<(int Sequence, int Position)> Everything() =>
        [.. _lengths.SelectMany((length, sequence) => Enumerable.Range(0, length).Select(position => (sequence, position)))];

    /// <summary>The CPU operation's output for these tokens, which is the same in plain loops and on every path of this machine.</summary>
    internal float[] Run(CpuThreads threads, List<(int Sequence, int Position)> rows)
    {
        float[] plain = Run(null);
        foreach (IsaPath path in Isa.Supported)
            Assert.That(Run(InstructionFamily.Of(path)).Select(BitConverter.SingleToInt32Bits), Is.EqualTo(plain.Select(BitConverter.SingleToInt32Bits)), path.Name());
        return plain;

        float[] Run(InstructionFamily? family)
        {
            using Attention attention = new(threads, family);
            Tensor y = _tensors.Empty(rows.Count, _shape.KvHeadOfHead.Count * _settings.HeadDim, gap: 3);
            attention.Run(this.Random(rows, _shape.KvHeadOfHead.Count, salt: 3), _cache, Step(rows), _shape, y);
            return HostTensors.Values(y);
        }
    }

    /// <summary>Managed bytes of a second call.</summary>
    internal long AllocatedBytes(CpuThreads threads, List<(int Sequence, int Position)> rows)
    {
        using Attention attention = new(threads, InstructionFamily.Of(Isa.Detect()));
        Tensor q = Random(rows, _shape.KvHeadOfHead.Count, salt: 3), y = _tensors.Empty(rows.Count, q.Columns);
        StepTensors step = Step(rows);
        attention.Run(q, _cache, step, _shape, y);
        long before = GC.GetAllocatedBytesForCurrentThread();
        attention.Run(q, _cache, step, _shape, y);
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    /// <summary>The oracle's output for every token.</summary>
    public float[] RunOracle()
    {
        List<(int Sequence, int Position)> rows = Everything();
        Tensor y = _tensors.Empty(rows.Count, _shape.KvHeadOfHead.Count * _settings.HeadDim);
        _oracle.Attention(Random(rows, _shape.KvHeadOfHead.Count, salt: 3), _oracleCache, Step(rows), _shape, y);
        return HostTensors.Values(y);
    }

    /// <summary>Overwrites one token's keys and values.</summary>
    public void StoreOne(int sequence, int position, float value)
    {
        Tensor k = _tensors.Empty(1, _settings.KvHeads * _settings.HeadDim);
        k.HostSpan<float>(0).Fill(value);
        StoreKv.Run(_storeThreads, k, k, Slots([(sequence, position)]), _cache);
    }

    /// <summary>Overwrites one token's keys and values by these in each head.</summary>
    public void StoreOne(int sequence, int position, ReadOnlySpan<float> head)
    {
        Tensor k = _tensors.Empty(1, _settings.KvHeads * _settings.HeadDim);
        for (int i = 0; i < _settings.KvHeads; i++)
            head.CopyTo(k.HostSpan<float>(0)[(i * _settings.HeadDim)..]);
        Tensor slots = Slots([(sequence, position)]);
        StoreKv.Run(_storeThreads, k, k, slots, _cache);
        _oracle.StoreKv(k, k, slots, _oracleCache);
    }

    /// <summary>A token's keys and values of a head of a Q8 cache, read where <see cref="StoreKv"/> says they lie; and as the oracle has them.</summary>
    internal unsafe (float[] Keys, float[] Values, float[] Expected) ReadQ8(int sequence, int position, int head)
    {
        int blockTokens = _settings.BlockTokens, headDim = _settings.HeadDim, inBlock = position % blockTokens;
        int row = (_tables.HostSpan<int>(sequence)[position / blockTokens] * _settings.KvHeads + head) * blockTokens;
        byte* keys = _cache.Keys.HostRow<byte>(row), values = _cache.Values.HostRow<byte>(row);
        float[] k = new float[headDim], v = new float[headDim], expected = new float[headDim];
        for (int d = 0; d < headDim; d++)
        {
            int scale = (headDim * blockTokens) + ((d / Q8Block.Elements * blockTokens) + inBlock) * Q8Block.ScaleBytes;
            k[d] = (float)*(Half*)(keys + scale) * ((sbyte*)keys)[(d * blockTokens) + inBlock];
            v[d] = (float)*(Half*)(values + scale) * ((sbyte*)values)[(inBlock * headDim) + d];
            expected[d] = ReferenceAttention.Read(_oracleCache.Keys.HostRow<byte>(row + inBlock), ElementType.Q8, headDim, d);
        }
        return (k, v, expected);
    }

    /// <summary>A value stored as an element and read back, by the vector and the single read.</summary>
    internal static unsafe float RoundTrip<TElement>(float value)
        where TElement : struct, IKvElement
    {
        byte* memory = stackalloc byte[64];
        TElement.Store(Vector512.Create(value), memory, 16, TElement.Bytes);
        float vector = TElement.Load(memory).GetElement(15), single = TElement.LoadOne(memory);
        return vector.Equals(single) ? vector : throw new InvalidOperationException($"{vector:R} is not {single:R}");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _tensors.CheckGuards();
        _tensors.Dispose();
        _storeThreads.Dispose();
        _oracle.Dispose();
    }

    private KvLayer NewCache(int blocks)
    {
        int rows = blocks * _settings.KvHeads * _settings.BlockTokens, columns = _settings.Type.KvColumns(_settings.HeadDim);
        Tensor keys = _tensors.Empty(rows, columns, _settings.Type), values = _tensors.Empty(rows, columns, _settings.Type);
        return new KvLayer(keys, values, _settings.KvHeads, _settings.BlockTokens);
    }

    private StepTensors Step(List<(int Sequence, int Position)> rows) => new(
        _tensors.Of(new int[rows.Count]), _tensors.Of([.. rows.Select(row => row.Position)]), _tensors.Of(new int[rows.Count]),
        _tensors.Of([.. rows.Select(row => row.Sequence)]), _tables);

    private Tensor Slots(List<(int Sequence, int Position)> rows) => _tensors.Of([.. rows.Select(row =>
        _tables.HostSpan<int>(row.Sequence)[row.Position / _settings.BlockTokens] * _settings.BlockTokens + row.Position % _settings.BlockTokens)]);

    private Tensor Random(List<(int Sequence, int Position)> rows, int heads, int salt)
    {
        int columns = heads * _settings.HeadDim;
        Tensor tensor = _tensors.Empty(rows.Count, columns, gap: 1);
        for (int i = 0; i < rows.Count; i++)
        {
            float[] values = Numbers.Uniform(columns, (salt * 100 + rows[i].Sequence) * 10007 + rows[i].Position);
            for (int j = 0; j < columns; j++)
                tensor.HostSpan<float>(i)[j] = 3 * values[j];
        }
        return tensor;
    }
}
