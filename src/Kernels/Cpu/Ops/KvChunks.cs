using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

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
    private readonly int _latentValues;
    private readonly nint _tileBytes;

    /// <summary>Chunks of a cache as a step's tables see it.</summary>
    public KvChunks(KvLayer cache, StepTensors step, int paddedDim)
    {
        _step = step;
        _keys = cache.Keys.HostRow<byte>(0);
        _values = cache.Values.HostRow<byte>(0);
        _kvHeads = cache.Heads;
        _blockTokens = cache.BlockTokens;
        _blocks = cache.Keys.Rows / (cache.Heads * cache.BlockTokens);
        _headDim = cache.HeadDim;
        _paddedDim = paddedDim;
        _latentValues = cache.LatentValues;
        _tileBytes = (nint)cache.BlockTokens * cache.Keys.Columns * TElement.Bytes;
    }

    /// <summary>True where 16 positions lie side by side in a block and values are whole vectors: then chunks can be used where they lie.</summary>
    public bool InPlace => _blockTokens % L == 0 && _headDim % L == 0;

    /// <summary>True where values are part of the keys: then chunks are converted.</summary>
    public bool IsLatent => _latentValues > 0;

    /// <summary>Bytes from one element of a head to the next, for 16 keys in the cache.</summary>
    public nint KeyStride => _blockTokens * TElement.Bytes;

    /// <summary>Bytes from one position to the next, for values in the cache.</summary>
    public nint ValueStride => _headDim * TElement.Bytes;

    /// <summary>Converts what the tile sees of a chunk: keys [headDim, 64], values [64, paddedDim]; the rest is undefined. Scales are multiplied in.</summary>
    /// <remarks>Shapes   scales: room for <see cref="LoadScales"/>, where the type has them.</remarks>
    public void Convert(RowTile tile, HeadGroup group, int start, float* chunkKeys, float* chunkValues, ChunkScales scales)
    {
        if (InPlace)
            ConvertVectors(tile, group, start, chunkKeys, chunkValues, scales);
        else
            ConvertPositions(tile, group, start, chunkKeys, chunkValues);
        if (IsLatent)
            TurnValues(Math.Max(0, tile.MinFirst - start), Math.Min(Chunk, tile.MaxLast + 1 - start), chunkKeys, chunkValues);
    }

    /// <summary>Values out of converted keys: [position][d] = [d][position]. What lies behind the last value of a position is multiplied with, but never stored.</summary>
    private void TurnValues(int from, int to, float* chunkKeys, float* chunkValues)
    {
        const int some = 16; // elements of all positions at a time: a line of each position, written whole
        for (int d = 0; d < _latentValues; d += some)
        {
            int count = Math.Min(some, _latentValues - d);
            for (int position = from; position < to; position++)
            {
                float* source = chunkKeys + (d * (nint)Chunk) + position;
                float* target = chunkValues + (position * (nint)_paddedDim) + d;
                for (int i = 0; i < count; i++)
                    target[i] = source[i * Chunk];
            }
        }
    }

    /// <summary>The scales of a located chunk as float32; those of the next are fetched meanwhile.</summary>
    public void LoadScales(KvVectors chunk, KvVectors next, ChunkScales scales)
    {
        nint blockBytes = (nint)_blockTokens * Q8Block.ScaleBytes;
        for (int block = 0; block < _headDim / Q8Block.Elements; block++)
        {
            for (int v = 0; v < Chunk / L; v++)
            {
                Float16Element.Load(chunk.KeyScales[v] + block * blockBytes).Store(scales.Keys + block * Chunk + v * L);
                Float16Element.Load(chunk.ValueScales[v] + block * blockBytes).Store(scales.Values + block * Chunk + v * L);
                if (Sse.IsSupported)
                {
                    Sse.Prefetch1(next.KeyScales[v] + block * blockBytes);
                    Sse.Prefetch1(next.ValueScales[v] + block * blockBytes);
                }
            }
        }
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
            vectors.Keys[v] = _keys + tileStart + inBlock * TElement.Bytes;
            vectors.Values[v] = _values + tileStart + inBlock * (nint)_headDim * TElement.Bytes;
            if (TElement.HasScales)
            {
                vectors.KeyScales[v] = _keys + tileStart + ScaleOffset(0, inBlock);
                vectors.ValueScales[v] = _values + tileStart + ScaleOffset(0, inBlock);
            }
        }
    }

    /// <summary>Bytes from the start of a tile to the scale of a block of elements of a position.</summary>
    private nint ScaleOffset(int block, int inBlock) => (nint)_headDim * _blockTokens + ((nint)block * _blockTokens + inBlock) * Q8Block.ScaleBytes;

    /// <summary>Bytes from the start of the cache to the tile that holds a position of one KV head.</summary>
    private nint TileStart(int* table, int position, int kvHead)
    {
        int block = table[position / _blockTokens];
        if ((uint)block >= (uint)_blocks)
            throw new ArgumentException($"Block {block} of position {position} is not in a cache of {_blocks} blocks.");
        return ((nint)block * _kvHeads + kvHead) * _tileBytes;
    }

    /// <summary>Converts what the tile sees of a chunk, 16 elements at a time.</summary>
    private void ConvertVectors(RowTile tile, HeadGroup group, int start, float* chunkKeys, float* chunkValues, ChunkScales scales)
    {
        byte** addresses = stackalloc byte*[KvVectors.Addresses];
        KvVectors vectors = new(addresses);
        Locate(tile, group, start, vectors);
        if (TElement.HasScales)
            LoadScales(vectors, vectors, scales);
        int from = Math.Max(0, tile.MinFirst - start) / L, to = Math.Min(Chunk / L - 1, (tile.MaxLast - start) / L);
        for (int v = from; v <= to; v++)
        {
            byte* key = vectors.Keys[v];
            for (int d = 0; d < _headDim; d++, key += _blockTokens * TElement.Bytes)
            {
                Vector512<float> elements = TElement.Load(key);
                if (TElement.HasScales)
                    elements *= Vector512.Load(scales.Keys + d / Q8Block.Elements * Chunk + v * L);
                elements.Store(chunkKeys + d * Chunk + v * L);
            }
            if (IsLatent)
                continue;
            byte* value = vectors.Values[v];
            float* target = chunkValues + v * L * _headDim;
            for (int position = 0; position < L; position++)
            {
                for (int d = 0; d < _headDim; d += L, value += L * TElement.Bytes, target += L)
                {
                    Vector512<float> elements = TElement.Load(value);
                    if (TElement.HasScales)
                        elements *= Vector512.Create(scales.Values[d / Q8Block.Elements * Chunk + v * L + position]);
                    elements.Store(target);
                }
            }
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
            byte* key = _keys + tileStart + inBlock * TElement.Bytes;
            byte* value = IsLatent ? key : _values + tileStart + inBlock * (nint)_headDim * TElement.Bytes; // of latent rows whatever is there: they are turned
            for (int d = 0; d < _headDim; d++)
            {
                float keyElement = TElement.LoadOne(key + (nint)d * _blockTokens * TElement.Bytes), valueElement = TElement.LoadOne(value + d * TElement.Bytes);
                if (TElement.HasScales)
                {
                    nint scale = tileStart + ScaleOffset(d / Q8Block.Elements, inBlock);
                    keyElement *= (float)*(Half*)(_keys + scale);
                    valueElement *= (float)*(Half*)(_values + scale);
                }
                chunkKeys[d * Chunk + p] = keyElement;
                chunkValues[p * _paddedDim + d] = valueElement;
            }
        }
    }
}

/// <summary>Where the four groups of 16 positions of a chunk lie: the first key vector and the first value of each, and the scales of their first blocks.</summary>
/// <param name="addresses">Room for <see cref="Addresses"/> of them.</param>
internal readonly unsafe struct KvVectors(byte** addresses)
{
    private const int Groups = OnlineSoftmax.ChunkPositions / VectorMath.Lanes;

    /// <summary>Addresses of a chunk.</summary>
    public const int Addresses = 4 * Groups;

    public byte** Keys => addresses;

    public byte** Values => addresses + Groups;

    /// <summary>Of element types that have scales.</summary>
    public byte** KeyScales => addresses + 2 * Groups;

    /// <summary>Of element types that have scales.</summary>
    public byte** ValueScales => addresses + 3 * Groups;
}

/// <summary>A chunk's scales as float32: [headDim / 32, 64], by block of elements and position.</summary>
internal readonly unsafe struct ChunkScales(float* keys, float* values)
{
    public float* Keys => keys;

    public float* Values => values;
}
