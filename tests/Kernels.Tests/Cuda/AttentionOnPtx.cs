using System.Runtime.InteropServices;
using NUnit.Framework;
using TpServe.Kernels.Cuda.Attention;
using TpServe.Kernels.Reference;
using TpServe.Ptx;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>The scene of <see cref="AttentionOnDevice"/> with the PTX of the kernels in an interpreter, which looks for races and stray accesses.</summary>
/// <remarks>Slots that no token was stored to hold NaN, and so does the result before the kernels run.</remarks>
internal sealed class AttentionOnPtx : IDisposable
{
    private readonly AttentionSettings _settings;
    private readonly AttentionShape _shape;
    private readonly int[] _lengths;
    private readonly int[] _tables;
    private readonly int _tableBlocks;
    private readonly int _blocks;
    private readonly int _seed;
    private readonly PtxMemory _memory = new();
    private readonly PtxBuffer _keys;
    private readonly PtxBuffer _values;
    private readonly HostTensors _host = new();
    private readonly ReferenceBackend _oracle = new();
    private readonly KvLayer _oracleCache;

    public AttentionOnPtx(AttentionSettings settings, int seed, params int[] lengths)
    {
        (_settings, _lengths, _shape, _seed) = (settings, lengths, settings.Shape, seed);
        int blockTokens = settings.BlockTokens;
        _blocks = lengths.Sum(length => (length + blockTokens - 1) / blockTokens) + 3;
        int[] order = [.. Enumerable.Range(0, _blocks)];
        new Random(settings.BlockSeed).Shuffle(order);
        _tableBlocks = lengths.Max(length => (length + blockTokens - 1) / blockTokens) + 1;
        _tables = new int[lengths.Length * _tableBlocks];
        Array.Fill(_tables, -1);
        int next = 0;
        for (int sequence = 0; sequence < lengths.Length; sequence++)
            for (int block = 0; block < (lengths[sequence] + blockTokens - 1) / blockTokens; block++)
                _tables[sequence * _tableBlocks + block] = order[next++];

        int elements = _blocks * settings.KvHeads * blockTokens * settings.HeadDim;
        byte[] poison = new byte[elements * settings.Type.SizeBytes()];
        Array.Fill(poison, (byte)0xFF);
        _keys = _memory.Allocate(poison);
        _values = _memory.Allocate(poison);
        int rows = elements / settings.HeadDim;
        _oracleCache = new KvLayer(_host.Empty(rows, settings.HeadDim, settings.Type), _host.Empty(rows, settings.HeadDim, settings.Type), settings.KvHeads, blockTokens);
        Store(Everything());
    }

    /// <summary>Elements of a row of q.</summary>
    public int Columns => _shape.KvHeadOfHead.Count * _settings.HeadDim;

    /// <summary>What the last launch did.</summary>
    public PtxRun? LastRun { get; private set; }

    /// <summary>Every token of every sequence.</summary>
    public (int Sequence, int Position)[] Everything() =>
        [.. _lengths.SelectMany((length, sequence) => Enumerable.Range(0, length).Select(position => (sequence, position)))];

    /// <summary>The plain kernel's output for these tokens.</summary>
    /// <param name="columnsOfGroup">Query heads of rows that a group attends for.</param>
    /// <param name="chunksOfGroup">Chunks of a group; fewer than there are leave partial results, which a second launch merges.</param>
    /// <param name="rows">The tokens.</param>
    public float[] RunPlain(int columnsOfGroup, int chunksOfGroup, params (int Sequence, int Position)[] rows) => Run(
        PlainAttention.Chunk, chunksOfGroup, rows,
        (numbers, operands) =>
        {
            int columns = numbers.Rows * numbers.Heads, ranges = (numbers.Chunks + numbers.ChunksOfGroup - 1) / numbers.ChunksOfGroup;
            operands[2] = _memory.Allocate(_shape.KvHeadOfHead.ToArray()).ViewOf(4);
            LastRun = Launch(
                OfflineKernel.Of(typeof(PlainAttention), "AttendKernel"), ((columns + columnsOfGroup - 1) / columnsOfGroup, ranges, 1), 128, [.. operands, columnsOfGroup]);
        });

    /// <summary>The tensor-core kernel's output for these tokens.</summary>
    /// <param name="rowsOfGroup">Rows of a group; 1 = as in decode.</param>
    /// <param name="chunksOfGroup">Chunks of a group; fewer than there are leave partial results, which a second launch merges.</param>
    /// <param name="takes">Which rows the launch takes: two launches together take all where it is not All.</param>
    /// <param name="rows">The tokens.</param>
    public float[] Run(int rowsOfGroup, int chunksOfGroup, TakenRows takes, params (int Sequence, int Position)[] rows) => Run(
        _settings.HeadDim, chunksOfGroup, rows,
        (numbers, operands) =>
        {
            int[] pieces = HeadMaps.Pieces(_shape.KvHeadOfHead);
            operands[2] = _memory.Allocate(pieces).ViewOf(4);
            OfflineKernel attend = OfflineKernel.Of(typeof(TensorAttention), "AttendKernel", _settings.Type == ElementType.Float16 ? typeof(HalfElement) : typeof(BFloatElement));
            foreach (TakenRows taken in takes == TakenRows.All ? [TakenRows.All] : new[] { TakenRows.Alone, TakenRows.Accompanied })
            {
                int ofGroup = taken == TakenRows.Alone ? 1 : rowsOfGroup;
                TensorCut cut = new() { Rows = ofGroup, Tiles = (ofGroup * HeadMaps.MostHeads(pieces) + 7) / 8, Pieces = pieces.Length / 4, Takes = taken };
                ILGPU.KernelConfig config = TensorAttention.Config(numbers, cut);
                LastRun = Launch(attend, (config.GridDim.X, config.GridDim.Y, 1), config.GroupDim.X, [.. operands, Bytes(cut)]);
            }
        });

    /// <summary>Runs kernels over the operands of a step; the third is theirs to set.</summary>
    private float[] Run(int chunk, int chunksOfGroup, (int Sequence, int Position)[] rows, Action<AttentionNumbers, object[]> attend)
    {
        const int gapQ = 6, gapY = 3;
        int strideQ = Columns + gapQ, strideY = Columns + gapY;
        float[] queries = Queries(rows), padded = new float[rows.Length * strideQ];
        for (int row = 0; row < rows.Length; row++)
            queries.AsSpan(row * Columns, Columns).CopyTo(padded.AsSpan(row * strideQ));
        float[] nothing = new float[(rows.Length - 1) * strideY + Columns];
        Array.Fill(nothing, float.NaN);
        AttentionNumbers numbers = AttentionKernels.Numbers(rows.Length, strideQ, strideY, _lengths.Length, _tableBlocks, _tableBlocks, _settings.BlockTokens, _shape, chunk);
        numbers.ChunksOfGroup = Math.Min(chunksOfGroup, numbers.Chunks);
        bool isWhole = numbers.ChunksOfGroup == numbers.Chunks;
        PtxBuffer q = _memory.Allocate(padded), y = _memory.Allocate(nothing), tables = _memory.Allocate(_tables);
        PtxBuffer positions = _memory.Allocate([.. rows.Select(row => row.Position)]), sequences = _memory.Allocate([.. rows.Select(row => row.Sequence)]);
        PtxBuffer partials = _memory.Allocate(isWhole ? 4 : 4L * rows.Length * numbers.Heads * numbers.Chunks * (_settings.HeadDim + 2));
        byte[] numberBytes = Bytes(numbers);

        attend(numbers, [q.ViewOf(4), CacheBytes(), 0, positions.ViewOf(4), sequences.ViewOf(4), tables.ViewOf(4), y.ViewOf(4), partials.ViewOf(4), numberBytes]);
        if (!isWhole)
            Launch(OfflineKernel.Of(typeof(PartialMerge), "MergeKernel"), (2, 1, 1), 128, CacheBytes(), positions.ViewOf(4), sequences.ViewOf(4), partials.ViewOf(4), y.ViewOf(4), numberBytes);

        float[] whole = _memory.Read<float>(y), values = new float[rows.Length * Columns];
        for (int row = 0; row < rows.Length; row++)
        {
            whole.AsSpan(row * strideY, Columns).CopyTo(values.AsSpan(row * Columns));
            for (int i = Columns; i < strideY && row + 1 < rows.Length; i++)
                if (!float.IsNaN(whole[row * strideY + i]))
                    throw new InvalidOperationException($"An element behind row {row} was written.");
        }
        return values;
    }

    /// <summary>The oracle's output for these tokens, whose queries are rounded as the kernel does.</summary>
    public float[] Oracle(params (int Sequence, int Position)[] rows) => Oracle(_settings.Type, rows);

    /// <summary>The oracle's output for these tokens, whose queries are rounded to a type.</summary>
    public float[] Oracle(ElementType queries, params (int Sequence, int Position)[] rows)
    {
        Tensor y = _host.Empty(rows.Length, Columns), table = _host.Empty(_lengths.Length, _tableBlocks, ElementType.Int32);
        for (int sequence = 0; sequence < _lengths.Length; sequence++)
            _tables.AsSpan(sequence * _tableBlocks, _tableBlocks).CopyTo(table.HostSpan<int>(sequence));
        StepTensors step = new(
            _host.Of(new int[rows.Length]), _host.Of([.. rows.Select(row => row.Position)]), _host.Of(new int[rows.Length]), _host.Of([.. rows.Select(row => row.Sequence)]), table);
        _oracle.Attention(_host.Of([.. Queries(rows).Select(value => AttentionOnDevice.Round(value, queries))], rows.Length, Columns), _oracleCache, step, _shape, y);
        return HostTensors.Values(y);
    }

    /// <summary>Overwrites one token's keys and values with one number.</summary>
    public void StoreOne(int sequence, int position, float value) => Store([(sequence, position)], value);

    /// <summary>Bits of the rows of one output that stand for tokens, in the order of those tokens.</summary>
    public int[] BitsOf(float[] output, (int Sequence, int Position)[] rows, params (int Sequence, int Position)[] wanted) =>
        [.. wanted.SelectMany(token => output.Skip(Array.IndexOf(rows, token) * Columns).Take(Columns)).Select(BitConverter.SingleToInt32Bits)];

    /// <inheritdoc/>
    public void Dispose()
    {
        _host.Dispose();
        _oracle.Dispose();
    }

    private void Store((int Sequence, int Position)[] rows, float? value = null)
    {
        int columns = _settings.KvHeads * _settings.HeadDim;
        float[] k = Values(rows, _settings.KvHeads, salt: 1), v = Values(rows, _settings.KvHeads, salt: 2);
        if (value is { } fill)
        {
            Array.Fill(k, fill);
            Array.Fill(v, fill);
        }
        int[] slots = [.. rows.Select(row =>
            _tables[row.Sequence * _tableBlocks + row.Position / _settings.BlockTokens] * _settings.BlockTokens + row.Position % _settings.BlockTokens)];
        Launch(OfflineKernel.Of(typeof(KvStoreKernels), "StoreKernel"), (2, 1, 1), 128,
            _memory.Allocate(k).ViewOf(4), _memory.Allocate(v).ViewOf(4), _memory.Allocate(slots).ViewOf(4), CacheBytes(), rows.Length, columns, columns);
        _oracle.StoreKv(_host.Of(k, rows.Length, columns), _host.Of(v, rows.Length, columns), _host.Of(slots), _oracleCache);
    }

    private PtxRun Launch(OfflineKernel kernel, (int, int, int) grid, int threads, params object[] arguments)
    {
        PtxModule module = Modules.GetOrAdd(kernel, static one => PtxModule.Parse(one.Ptx));
        PtxRun run = new PtxMachine(_memory, _seed).Launch(module, module.Kernels.Single().Name, grid, (threads, 1, 1), 0, arguments);
        Assert.That(run.DividedUniformBranches, Is.Zero, "a branch that ILGPU marked as uniform parted a warp");
        return run;
    }

    private static System.Collections.Concurrent.ConcurrentDictionary<OfflineKernel, PtxModule> Modules { get; } = new();

    /// <summary>A <see cref="KvView"/> of tiles stored as operands, as a kernel's parameter.</summary>
    private byte[] CacheBytes()
    {
        long[] views = [_keys.Address, _keys.Bytes, _values.Address, _values.Bytes];
        int format = (int)(_settings.Type == ElementType.Float16 ? KvFormat.Float16 : KvFormat.BFloat16);
        int[] numbers = [format, 1, _settings.KvHeads, _settings.HeadDim, _settings.BlockTokens, _blocks];
        return [.. MemoryMarshal.AsBytes(views.AsSpan()), .. MemoryMarshal.AsBytes(numbers.AsSpan())];
    }

    private float[] Queries((int Sequence, int Position)[] rows) => Values(rows, _shape.KvHeadOfHead.Count, salt: 3);

    private float[] Values((int Sequence, int Position)[] rows, int heads, int salt) =>
        [.. rows.SelectMany(row => Numbers.Uniform(heads * _settings.HeadDim, (salt * 100 + row.Sequence) * 10007 + row.Position)).Select(value => 3 * value)];

    private static byte[] Bytes<T>(T value) where T : unmanaged => MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)).ToArray();
}
