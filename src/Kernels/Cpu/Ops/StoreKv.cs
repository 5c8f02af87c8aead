using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>Stores keys and values of the step's tokens into their slots, rounding to the cache's type.</summary>
/// <remarks>
/// Shapes   A block's tile of one KV head is blockTokens · headDim elements at row (block · kvHeads + head) · blockTokens. Values lie position
///          after position; keys lie transposed, element (d, position) at d · blockTokens + position, so that attention scores 16 positions
///          with one load and no lane is ever moved. Scales, where the type has them, follow the tile's elements: [headDim / 32, blockTokens] binary16.
/// Numerics nearest even; Q8: <see cref="Q8Block"/>.
/// Oracle   System.Half, FloatValues and Q8Block: equal bit for bit.
/// </remarks>
internal static class StoreKv
{
    private const int ElementsWorthThreads = 16384;

    /// <summary>Stores every row.</summary>
    /// <exception cref="ArgumentException">The shapes disagree, or a slot is not in the cache.</exception>
    public static void Run(CpuThreads threads, Tensor k, Tensor v, Tensor slots, KvLayer cache)
    {
        int headDim = cache.HeadDim;
        Require.Shape(k, k.Rows, cache.Heads * headDim);
        if (cache.LatentValues == 0)
            Require.Shape(v, k.Rows, cache.Heads * headDim);
        Require.Shape(slots, k.Rows, 1, ElementType.Int32);
        Require.Shape(cache.Values, cache.Keys.Rows, cache.Keys.Columns, cache.Keys.Type);
        Require.Contiguous(cache.Keys);
        Require.Contiguous(cache.Values);
        Require.That(cache.LatentValues <= headDim, $"Values of {cache.LatentValues} elements are no part of keys of {headDim}.");
        switch (cache.Keys.Type)
        {
            case ElementType.Float32: Run<Float32Element>(threads, k, v, slots, cache); break;
            case ElementType.Float16: Run<Float16Element>(threads, k, v, slots, cache); break;
            case ElementType.BFloat16: Run<BFloat16Element>(threads, k, v, slots, cache); break;
            case ElementType.Q8: Run<Q8Element>(threads, k, v, slots, cache); break;
            default: throw new ArgumentException($"A cache cannot hold {cache.Keys.Type}.");
        }
    }

    private static void Run<TElement>(CpuThreads threads, Tensor k, Tensor v, Tensor slots, KvLayer cache)
        where TElement : struct, IKvElement
    {
        Work<TElement> work = new(k, v, slots, cache);
        threads.Run(ref work, k.Rows, Math.Max(1, ElementsWorthThreads / Math.Max(1, k.Columns)));
    }

    private readonly unsafe struct Work<TElement>(Tensor k, Tensor v, Tensor slots, KvLayer cache) : IParallelWork
        where TElement : struct, IKvElement
    {
        public void Execute(int first, int end, int thread)
        {
            int headDim = cache.HeadDim, blockTokens = cache.BlockTokens, heads = cache.Heads;
            byte* keys = cache.Keys.HostRow<byte>(0);
            byte* values = cache.Values.HostRow<byte>(0);
            for (int row = first; row < end; row++)
            {
                int slot = slots.HostRow<int>(row)[0];
                int block = slot / blockTokens, position = slot % blockTokens;
                Require.That(slot >= 0 && (long)(block + 1) * heads * blockTokens <= cache.Keys.Rows, $"Slot {slot} of row {row} is not in a cache of {cache.Keys.Rows} rows.");
                for (int head = 0; head < heads; head++)
                {
                    nint tile = (nint)(block * heads + head) * blockTokens * cache.Keys.Columns * TElement.Bytes;
                    byte* key = keys + tile + (nint)position * TElement.Bytes, value = values + tile + (nint)position * headDim * TElement.Bytes;
                    if (TElement.HasScales)
                    {
                        nint scale = tile + (nint)headDim * blockTokens + (nint)position * Q8Block.ScaleBytes;
                        SpreadBlocks(k.HostRow<float>(row) + head * headDim, key, keys + scale, headDim, blockTokens, blockTokens);
                        if (cache.LatentValues == 0)
                            SpreadBlocks(v.HostRow<float>(row) + head * headDim, value, values + scale, headDim, 1, blockTokens);
                        continue;
                    }
                    Spread(k.HostRow<float>(row) + head * headDim, key, headDim, blockTokens * TElement.Bytes);
                    if (cache.LatentValues == 0)
                        Spread(v.HostRow<float>(row) + head * headDim, value, headDim, TElement.Bytes);
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Spread(float* source, byte* target, int count, int strideBytes)
        {
            for (int i = 0; i < count; i += VectorMath.Lanes)
            {
                int lanes = Math.Min(VectorMath.Lanes, count - i);
                Vector512<float> part = lanes == VectorMath.Lanes ? Vector512.Load(source + i) : VectorMath.LoadPartial(source + i, lanes);
                TElement.Store(part, target + (nint)i * strideBytes, lanes, strideBytes);
            }
        }

        // The scale of each block of 32, and the codes under it.
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void SpreadBlocks(float* source, byte* target, byte* scales, int count, int stride, int blockTokens)
        {
            const int half = VectorMath.Lanes;
            for (int i = 0; i < count; i += Q8Block.Elements, scales += (nint)blockTokens * Q8Block.ScaleBytes)
            {
                Vector512<float> low = Vector512.Load(source + i), high = Vector512.Load(source + i + half);
                Half scale = Q8Element.Scale(low, high);
                *(Half*)scales = scale;
                bool hasCodes = Q8Block.HasCodes(scale);
                Vector512<float> divisor = Vector512.Create((float)scale);
                Q8Element.Store(hasCodes ? low / divisor : default, target + (nint)i * stride, half, stride);
                Q8Element.Store(hasCodes ? high / divisor : default, target + (nint)(i + half) * stride, half, stride);
            }
        }
    }
}
