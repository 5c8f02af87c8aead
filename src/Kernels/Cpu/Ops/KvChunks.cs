using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>The keys and values of 64 positions, found through the block table: where they lie, or as float32 in one place.</summary>
/// <remarks>
/// Memory   a block is read only where the tile sees a position in it, so table entries beyond a sequence's end or before its window may be
///          anything. Raw addresses stay valid because the cache lives through the call.
/// </remarks>
internal readonly unsafe struct KvChunks<TElement>
    where TElement : struct, IKvElement
{
    private const int Chunk = OnlineSoftmax.ChunkPositions;
    private const int L = VectorMath.Lanes;

    private readonly StepTensors _step;
    private readonly byte* _keys;
    private readonly byte* _values;
    private readonly int _kvHeads;
    private readonly int _blockTokens;
    private readonly int _blocks;
    private readonly int _headDim;
    private readonly int _paddedDim;

    /// <summary>Chunks of a cache as a step's tables see it.</summary>
    public KvChunks(KvLayer cache, StepTensors step, int paddedDim)
    {
        _step = step;
        _keys = cache.Keys.HostRow<byte>(0);
        _values = cache.Values.HostRow<byte>(0);
        _kvHeads = cache.Heads;
        _blockTokens = cache.BlockTokens;
        _blocks = cache.Keys.Rows / (cache.Heads * cache.BlockTokens);
        _headDim = cache.Keys.Columns;
        _paddedDim = paddedDim;
    }

    /// <summary>True where 16 positions lie side by side in a block and values are whole vectors: then chunks can be used where they lie.</summary>
    public bool InPlace => _blockTokens % L == 0 && _headDim % L == 0;

    /// <summary>Bytes from one element of a head to the next, for 16 keys in the cache.</summary>
    public nint KeyStride => _blockTokens * TElement.Bytes;

    /// <summary>Bytes from one position to the next, for values in the cache.</summary>
    public nint ValueStride => _headDim * TElement.Bytes;

    /// <summary>Converts what the tile sees of a chunk: keys [headDim, 64], values [64, paddedDim]; the rest is undefined.</summary>
    public void Convert(RowTile tile, HeadGroup group, int start, float* chunkKeys, float* chunkValues)
    {
        if (InPlace)
            ConvertVectors(tile, group, start, chunkKeys, chunkValues);
        else
            ConvertPositions(tile, group, start, chunkKeys, chunkValues);
    }

    /// <summary>Addresses of the four groups of 16 positions of a chunk; a group that the tile does not see borrows the address of one it sees.</summary>
    public void Locate(RowTile tile, HeadGroup group, int start, KvVectors vectors)
    {
        int* table = _step.BlockTables.HostRow<int>(_step.SequenceOfRow.HostRow<int>(tile.First)[0]);
        int from = Math.Max(0, tile.MinFirst - start) / L, to = Math.Min(Chunk / L - 1, (tile.MaxLast - start) / L);
        for (int v = 0; v < Chunk / L; v++)
        {
            int position = start + Math.Clamp(v, from, to) * L;
            nint tileStart = TileStart(table, position, group.KvHead);
            int inBlock = position % _blockTokens;
            vectors.Keys[v] = _keys + (tileStart + inBlock) * TElement.Bytes;
            vectors.Values[v] = _values + (tileStart + inBlock * (nint)_headDim) * TElement.Bytes;
        }
    }

    /// <summary>First element of the tile that holds a position of one KV head.</summary>
    private nint TileStart(int* table, int position, int kvHead)
    {
        int block = table[position / _blockTokens];
        if ((uint)block >= (uint)_blocks)
            throw new ArgumentException($"Block {block} of position {position} is not in a cache of {_blocks} blocks.");
        return ((nint)block * _kvHeads + kvHead) * _blockTokens * _headDim;
    }

    /// <summary>Converts what the tile sees of a chunk, 16 elements at a time.</summary>
    private void ConvertVectors(RowTile tile, HeadGroup group, int start, float* chunkKeys, float* chunkValues)
    {
        byte** addresses = stackalloc byte*[2 * (Chunk / L)];
        KvVectors vectors = new(addresses, addresses + (Chunk / L));
        Locate(tile, group, start, vectors);
        int from = Math.Max(0, tile.MinFirst - start) / L, to = Math.Min(Chunk / L - 1, (tile.MaxLast - start) / L);
        for (int v = from; v <= to; v++)
        {
            byte* key = vectors.Keys[v];
            for (int d = 0; d < _headDim; d++, key += _blockTokens * TElement.Bytes)
                TElement.Load(key).Store(chunkKeys + d * Chunk + v * L);
            byte* value = vectors.Values[v];
            float* target = chunkValues + v * L * _headDim;
            for (int i = 0; i < L * _headDim; i += L)
                TElement.Load(value + i * TElement.Bytes).Store(target + i);
        }
    }

    /// <summary>Converts what the tile sees of a chunk, element by element: for blocks or heads that are no multiple of 16.</summary>
    private void ConvertPositions(RowTile tile, HeadGroup group, int start, float* chunkKeys, float* chunkValues)
    {
        int* table = _step.BlockTables.HostRow<int>(_step.SequenceOfRow.HostRow<int>(tile.First)[0]);
        int end = Math.Min(start + Chunk - 1, tile.MaxLast);
        for (int position = Math.Max(start, tile.MinFirst); position <= end; position++)
        {
            nint tileStart = TileStart(table, position, group.KvHead);
            int inBlock = position % _blockTokens, p = position - start;
            byte* key = _keys + (tileStart + inBlock) * TElement.Bytes;
            byte* value = _values + (tileStart + inBlock * (nint)_headDim) * TElement.Bytes;
            for (int d = 0; d < _headDim; d++)
            {
                chunkKeys[d * Chunk + p] = TElement.LoadOne(key + (nint)d * _blockTokens * TElement.Bytes);
                chunkValues[p * _paddedDim + d] = TElement.LoadOne(value + d * TElement.Bytes);
            }
        }
    }
}

/// <summary>Where the four groups of 16 positions of a chunk lie: the first key vector and the first value of each.</summary>
internal readonly unsafe struct KvVectors(byte** keys, byte** values)
{
    public byte** Keys => keys;

    public byte** Values => values;
}
