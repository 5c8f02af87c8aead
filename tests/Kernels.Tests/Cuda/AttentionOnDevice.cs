using TpServe.Kernels.Cuda;
using TpServe.Kernels.Reference;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Sequences with random keys, values and queries, cached by the device and by the oracle in shuffled blocks.</summary>
/// <remarks>
/// A token's numbers depend on its sequence and position alone, so any batching of rows has an expected answer. Every slot that no token was stored
/// to holds NaN on the device, and so do the unused blocks.
/// </remarks>
internal sealed class AttentionOnDevice
{
    private readonly CudaBackend _backend;
    private readonly ReferenceBackend _oracle;
    private readonly DeviceTensors _device;
    private readonly HostTensors _host;
    private readonly AttentionSettings _settings;
    private readonly AttentionShape _shape;
    private readonly int[] _lengths;
    private readonly int[] _tables;
    private readonly int _tableBlocks;
    private readonly KvLayer _cache;
    private readonly KvLayer _oracleCache;

    public AttentionOnDevice(CudaBackend backend, ReferenceBackend oracle, DeviceTensors device, HostTensors host, AttentionSettings settings, params int[] lengths)
    {
        (_backend, _oracle, _device, _host, _settings, _lengths, _shape) = (backend, oracle, device, host, settings, lengths, settings.Shape);
        int blockTokens = settings.BlockTokens, blocks = lengths.Sum(length => (length + blockTokens - 1) / blockTokens) + 3;
        int[] order = [.. Enumerable.Range(0, blocks)];
        new Random(settings.BlockSeed).Shuffle(order);

        // One column more than any sequence needs, so that there is always an unused entry.
        _tableBlocks = lengths.Max(length => (length + blockTokens - 1) / blockTokens) + 1;
        _tables = new int[lengths.Length * _tableBlocks];
        Array.Fill(_tables, -1);
        int next = 0;
        for (int sequence = 0; sequence < lengths.Length; sequence++)
            for (int block = 0; block < (lengths[sequence] + blockTokens - 1) / blockTokens; block++)
                _tables[sequence * _tableBlocks + block] = order[next++];

        int rows = blocks * settings.KvHeads * blockTokens;
        byte[] poison = new byte[rows * settings.HeadDim * settings.Type.SizeBytes()];
        Array.Fill(poison, (byte)0xFF);
        _cache = new KvLayer(
            _device.OfBytes(poison, rows, settings.HeadDim, settings.Type), _device.OfBytes(poison, rows, settings.HeadDim, settings.Type), settings.KvHeads, blockTokens);
        _oracleCache = new KvLayer(
            _host.Empty(rows, settings.HeadDim, settings.Type), _host.Empty(rows, settings.HeadDim, settings.Type), settings.KvHeads, blockTokens);
        (int Sequence, int Position)[] all = Everything();
        float[] k = Values(all, settings.KvHeads, salt: 1), v = Values(all, settings.KvHeads, salt: 2);
        int columns = settings.KvHeads * settings.HeadDim;
        backend.StoreKv(_device.Of(k, all.Length, columns, gap: 1), _device.Of(v, all.Length, columns, gap: 2), _device.Of(Slots(all)), _cache);
        oracle.StoreKv(_host.Of(k, all.Length, columns), _host.Of(v, all.Length, columns), _host.Of(Slots(all)), _oracleCache);
    }

    /// <summary>The cache on the device.</summary>
    public KvLayer Cache => _cache;

    /// <summary>The contract's record of the shape.</summary>
    public AttentionShape Shape => _shape;

    /// <summary>Elements of a row of q.</summary>
    public int Columns => _shape.KvHeadOfHead.Count * _settings.HeadDim;

    /// <summary>Every token of every sequence.</summary>
    public (int Sequence, int Position)[] Everything() =>
        [.. _lengths.SelectMany((length, sequence) => Enumerable.Range(0, length).Select(position => (sequence, position)))];

    /// <summary>The device's output for these tokens.</summary>
    public float[] Run(params (int Sequence, int Position)[] rows) => RunBy(_backend.Attention, rows);

    /// <summary>The output of an attention on the device.</summary>
    public float[] RunBy(Action<Tensor, KvLayer, StepTensors, AttentionShape, Tensor> attention, params (int Sequence, int Position)[] rows)
    {
        Tensor y = _device.Empty(rows.Length, Columns, gap: 3);
        attention(_device.Of(Queries(rows), rows.Length, Columns, gap: 5), _cache, Step(rows), _shape, y);
        return _device.Values(y);
    }

    /// <summary>Queries of these tokens.</summary>
    public float[] Queries(params (int Sequence, int Position)[] rows) => Values(rows, _shape.KvHeadOfHead.Count, salt: 3);

    /// <summary>The integers of a step of these tokens.</summary>
    public StepTensors Step(params (int Sequence, int Position)[] rows) => new(
        _device.Of(new int[rows.Length]), _device.Of([.. rows.Select(row => row.Position)]), _device.Of(new int[rows.Length]),
        _device.Of([.. rows.Select(row => row.Sequence)]), _device.Of(_tables, _lengths.Length, _tableBlocks));

    /// <summary>The oracle's output for these tokens, whose queries may be rounded first.</summary>
    public float[] Oracle((int Sequence, int Position)[] rows, ElementType queries = ElementType.Float32)
    {
        Tensor y = _host.Empty(rows.Length, Columns);
        StepTensors step = new(
            _host.Of(new int[rows.Length]), _host.Of([.. rows.Select(row => row.Position)]), _host.Of(new int[rows.Length]),
            _host.Of([.. rows.Select(row => row.Sequence)]), Table());
        _oracle.Attention(_host.Of([.. Queries(rows).Select(value => Round(value, queries))], rows.Length, Columns), _oracleCache, step, _shape, y);
        return HostTensors.Values(y);
    }

    /// <summary>Overwrites one token's keys and values on the device.</summary>
    public void StoreOne(int sequence, int position, float value)
    {
        float[] k = new float[_settings.KvHeads * _settings.HeadDim];
        Array.Fill(k, value);
        _backend.StoreKv(_device.Of(k, 1, k.Length), _device.Of(k, 1, k.Length), _device.Of(Slots([(sequence, position)])), _cache);
    }

    /// <summary>Bits of the rows of one output that stand for tokens, in the order of those tokens.</summary>
    public int[] BitsOf(float[] output, (int Sequence, int Position)[] rows, params (int Sequence, int Position)[] wanted) =>
        [.. wanted.SelectMany(token => output.Skip(Array.IndexOf(rows, token) * Columns).Take(Columns)).Select(BitConverter.SingleToInt32Bits)];

    /// <summary>A value rounded to a type.</summary>
    public static float Round(float value, ElementType type) => type switch
    {
        ElementType.Float16 => (float)(Half)value,
        ElementType.BFloat16 => FloatValues.FromBFloat16(FloatValues.ToBFloat16(value)),
        _ => value,
    };

    private Tensor Table()
    {
        Tensor table = _host.Empty(_lengths.Length, _tableBlocks, ElementType.Int32);
        for (int sequence = 0; sequence < _lengths.Length; sequence++)
            _tables.AsSpan(sequence * _tableBlocks, _tableBlocks).CopyTo(table.HostSpan<int>(sequence));
        return table;
    }

    private int[] Slots((int Sequence, int Position)[] rows) => [.. rows.Select(row =>
        _tables[row.Sequence * _tableBlocks + row.Position / _settings.BlockTokens] * _settings.BlockTokens + row.Position % _settings.BlockTokens)];

    private float[] Values((int Sequence, int Position)[] rows, int heads, int salt) =>
        [.. rows.SelectMany(row => Numbers.Uniform(heads * _settings.HeadDim, (salt * 100 + row.Sequence) * 10007 + row.Position)).Select(value => 3 * value)];
}
