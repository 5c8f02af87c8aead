using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>Stores keys and values of the step's tokens into their slots, rounding to the cache's type.</summary>
/// <remarks>
/// Shapes   A block's tile of one KV head is blockTokens · headDim elements at row (block · kvHeads + head) · blockTokens. Values lie position
///          after position; keys lie transposed, element (d, position) at d · blockTokens + position, so that attention scores 16 positions
///          with one load and no lane is ever moved.
/// Numerics nearest even.
/// Oracle   System.Half and FloatValues: equal bit for bit.
/// </remarks>
internal static class StoreKv
{
    private const int ElementsWorthThreads = 16384;

    /// <summary>Stores every row.</summary>
    /// <exception cref="ArgumentException">The shapes disagree, or a slot is not in the cache.</exception>
    public static void Run(CpuThreads threads, Tensor k, Tensor v, Tensor slots, KvLayer cache)
    {
        int headDim = cache.Keys.Columns;
        Require.Shape(k, k.Rows, cache.Heads * headDim);
        Require.Shape(v, k.Rows, cache.Heads * headDim);
        Require.Shape(slots, k.Rows, 1, ElementType.Int32);
        Require.Shape(cache.Values, cache.Keys.Rows, headDim, cache.Keys.Type);
        Require.Contiguous(cache.Keys);
        Require.Contiguous(cache.Values);
        switch (cache.Keys.Type)
        {
            case ElementType.Float32: Run<Float32Element>(threads, k, v, slots, cache); break;
            case ElementType.Float16: Run<Float16Element>(threads, k, v, slots, cache); break;
            case ElementType.BFloat16: Run<BFloat16Element>(threads, k, v, slots, cache); break;
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
            int headDim = cache.Keys.Columns, blockTokens = cache.BlockTokens, heads = cache.Heads;
            byte* keys = cache.Keys.HostRow<byte>(0);
            byte* values = cache.Values.HostRow<byte>(0);
            for (int row = first; row < end; row++)
            {
                int slot = slots.HostRow<int>(row)[0];
                int block = slot / blockTokens, position = slot % blockTokens;
                Require.That(slot >= 0 && (long)(block + 1) * heads * blockTokens <= cache.Keys.Rows, $"Slot {slot} of row {row} is not in a cache of {cache.Keys.Rows} rows.");
                for (int head = 0; head < heads; head++)
                {
                    nint tile = (nint)(block * heads + head) * blockTokens * headDim;
                    Spread(k.HostRow<float>(row) + head * headDim, keys + (tile + position) * TElement.Bytes, headDim, blockTokens * TElement.Bytes);
                    Spread(v.HostRow<float>(row) + head * headDim, values + (tile + (nint)position * headDim) * TElement.Bytes, headDim, TElement.Bytes);
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
    }
}
