using TpServe.Checkpoint.Config;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Model;

/// <summary>The paged keys and values of this rank's KV heads, one <see cref="KvLayer"/> for each block of the model.</summary>
/// <remarks>
/// A block holds blockTokens consecutive tokens of one sequence in every layer; who owns which block is the scheduler's business.
/// Threads  the rank's thread.
/// </remarks>
public sealed class KvCache : IDisposable
{
    private readonly DeviceBuffer[] _buffers;
    private readonly KvLayer[] _layers;

    /// <summary>Allocates and zeroes the cache.</summary>
    /// <exception cref="ArgumentException">No block, no token in a block, or an element type a cache cannot have, or not with the model's heads.</exception>
    public KvCache(ModelConfig config, ShardPlan plan, ElementType type, int blockTokens, int blocks, ITensorBackend ops)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(ops);
        ArgumentOutOfRangeException.ThrowIfLessThan(blocks, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(blockTokens, 1);
        if (type == ElementType.Int32)
            throw new ArgumentException("A KV cache holds Float32, Float16, BFloat16 or Q8, not Int32.", nameof(type));
        BlockTokens = blockTokens;
        Blocks = blocks;
        Type = type;
        int heads = plan.LocalKvHeads, columns = type.KvColumns(config.HeadDim);
        int rows = checked((blocks + (ops.Records ? 1 : 0)) * heads * blockTokens);
        long bytes = (long)rows * columns * type.SizeBytes();
        int latentValues = config.Latent?.KvRank ?? 0;
        _buffers = new DeviceBuffer[heads == 0 ? 0 : config.KvRows * config.Layers];
        _layers = new KvLayer[heads == 0 ? 0 : config.Layers];
        for (int layer = 0; layer < _layers.Length; layer++)
        {
            DeviceBuffer keys = _buffers[config.KvRows * layer] = ops.Allocate(bytes);
            DeviceBuffer values = config.KvRows == 1 ? keys : _buffers[2 * layer + 1] = ops.Allocate(bytes);
            _layers[layer] = new KvLayer(new Tensor(keys, 0, rows, columns, columns, type), new Tensor(values, 0, rows, columns, columns, type), heads, blockTokens, latentValues);
        }
    }

    /// <summary>Tokens a block holds.</summary>
    public int BlockTokens { get; }

    /// <summary>Blocks of every layer.</summary>
    public int Blocks { get; }

    /// <summary>A block that no sequence owns, for the rows that pad a recorded step. Exists where the device records.</summary>
    public int SpareBlock => Blocks;

    /// <summary>Type of the stored keys and values.</summary>
    public ElementType Type { get; }

    /// <summary>Device bytes held.</summary>
    public long Bytes => _buffers.Sum(buffer => buffer.Bytes);

    /// <summary>Device bytes of one block over all layers on the rank of <paramref name="plan"/>: keys and values of its KV heads, or latent rows.</summary>
    public static long BytesPerBlock(ModelConfig config, ShardPlan plan, ElementType type, int blockTokens)
    {
        ArgumentNullException.ThrowIfNull(config);
        return blockTokens * ShardSizes.KvBytesPerToken(config, plan, type.KvColumns(config.HeadDim) * type.SizeBytes());
    }

    /// <summary>The cache of one block of the model; null where this rank has no heads.</summary>
    public KvLayer? Layer(int layer) => _layers.Length == 0 ? null : _layers[layer];

    /// <summary>Copies a block in every layer; queued before what is queued after it.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such block.</exception>
    public void CopyBlock(int source, int destination, ITensorBackend ops)
    {
        ArgumentNullException.ThrowIfNull(ops);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)source, (uint)Blocks);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)destination, (uint)Blocks);
        foreach (KvLayer layer in _layers)
        {
            int rows = layer.Heads * layer.BlockTokens;
            ops.Copy(layer.Keys.RowSlice(source * rows, rows), layer.Keys.RowSlice(destination * rows, rows));
            if (layer.LatentValues == 0)
                ops.Copy(layer.Values.RowSlice(source * rows, rows), layer.Values.RowSlice(destination * rows, rows));
        }
    }

    /// <summary>Frees the device memory.</summary>
    public void Dispose()
    {
        foreach (DeviceBuffer? buffer in _buffers)
            buffer?.Dispose();
    }
}
