using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>Stores keys and values of the step's tokens into their slots, alone or together with the rotary embedding of q and k.</summary>
/// <remarks>
/// Shapes   q [n, heads · headDim], k, v [n, kvHeads · headDim], strided; the cache as <see cref="KvView"/> has it.
/// Launch   a thread an element (or a pair that is rotated), striding over the grid; one launch. A slot outside the cache stores nothing.
/// Numerics nearest even. The fused kernel does per pair and per element what Rope and Store do, so its bits are theirs.
/// Cost     reads 8 · n · kvHeads · headDim bytes, writes that many elements of the cache: memory bound and small.
/// Oracle   the reference backend: the cache's elements equal bit for bit.
/// </remarks>
internal sealed class KvStoreKernels(CudaQueue queue)
{
    private readonly Action<KernelConfig, ArrayView<float>, ArrayView<float>, ArrayView<int>, KvView, int, int, int> _store =
        queue.Load<ArrayView<float>, ArrayView<float>, ArrayView<int>, KvView, int, int, int>(StoreKernel);
    private readonly Action<KernelConfig, ArrayView<float>, ArrayView<float>, ArrayView<float>, ArrayView<int>, RotaryTableView, ArrayView<int>, KvView, RopeStoreShape> _ropeStore =
        queue.Load<ArrayView<float>, ArrayView<float>, ArrayView<float>, ArrayView<int>, RotaryTableView, ArrayView<int>, KvView, RopeStoreShape>(RopeStoreKernel);

    /// <summary>Stores every row.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void Store(Tensor k, Tensor v, Tensor slots, KvLayer cache)
    {
        KvView view = Check(k, v, slots, cache);
        if (k.Rows > 0)
            _store(RotaryKernels.Groups(queue, k.Rows * k.Columns), k.View<float>(), v.View<float>(), slots.View<int>(), view, k.Rows, k.RowStride, v.RowStride);
    }

    /// <summary>Rotates q and k in place and stores k and v.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void RopeStore(Tensor q, Tensor k, Tensor v, Tensor positions, Tensor table, int headDim, Tensor slots, KvLayer cache)
    {
        KvView view = Check(k, v, slots, cache);
        Require.Groups(q, headDim);
        Require.Type(q, ElementType.Float32);
        Require.Shape(positions, q.Rows, 1, ElementType.Int32);
        Require.Contiguous(positions);
        Require.That(q.Rows == k.Rows && view.HeadDim == headDim, $"q is {q}, k is {k}, in heads of {headDim}, of a cache with heads of {view.HeadDim}.");
        RotaryTableView angles = new(table, headDim);
        RopeStoreShape shape = new(q, k, v, headDim, view.Heads, angles.Half);
        if (k.Rows > 0)
            _ropeStore(RotaryKernels.Groups(queue, k.Rows * shape.Items), q.View<float>(), k.View<float>(), v.View<float>(), positions.View<int>(), angles, slots.View<int>(), view, shape);
    }

    private static KvView Check(Tensor k, Tensor v, Tensor slots, KvLayer cache)
    {
        KvView view = new(cache);
        Require.Shape(k, k.Rows, view.Heads * view.HeadDim);
        Require.Shape(v, k.Rows, view.Heads * view.HeadDim);
        Require.Shape(slots, k.Rows, 1, ElementType.Int32);
        Require.Contiguous(slots);
        return view;
    }

    [DeviceKernel]
    private static void StoreKernel(ArrayView<float> k, ArrayView<float> v, ArrayView<int> slots, KvView cache, int rows, int strideK, int strideV)
    {
        int columns = cache.Heads * cache.HeadDim;
        for (int i = Grid.IdxX * Group.DimX + Group.IdxX; i < rows * columns; i += Grid.DimX * Group.DimX)
        {
            int row = i / columns, column = i % columns;
            StoreKey(cache, slots[row], column, k[row * strideK + column]);
            StoreValue(cache, slots[row], column, v[row * strideV + column]);
        }
    }

    [DeviceKernel]
    private static void RopeStoreKernel(
        ArrayView<float> q, ArrayView<float> k, ArrayView<float> v, ArrayView<int> positions, RotaryTableView table, ArrayView<int> slots, KvView cache, RopeStoreShape shape)
    {
        for (int i = Grid.IdxX * Group.DimX + Group.IdxX; i < shape.Rows * shape.Items; i += Grid.DimX * Group.DimX)
        {
            int row = i / shape.Items, item = i % shape.Items;

            // 1. A pair of a query head.
            if (item < shape.QueryItems)
            {
                int place = row * shape.StrideQ + item / shape.Half * cache.HeadDim + item % shape.Half;
                RotaryTableView.Rotate(table, positions[row], item % shape.Half, q, place);
                continue;
            }

            // 2. A pair of a key, or one of its elements that is not rotated.
            item -= shape.QueryItems;
            if (item < shape.KeyItems)
            {
                int head = item / shape.ItemsOfKey, part = item % shape.ItemsOfKey;
                bool isPair = part < shape.Half;
                int column = head * cache.HeadDim + (isPair ? part : part + shape.Half), place = row * shape.StrideK + column;
                if (isPair)
                {
                    RotaryTableView.Rotate(table, positions[row], part, k, place);
                    StoreKey(cache, slots[row], column + shape.Half, k[place + shape.Half]);
                }
                StoreKey(cache, slots[row], column, k[place]);
                continue;
            }

            // 3. An element of a value.
            item -= shape.KeyItems;
            StoreValue(cache, slots[row], item, v[row * shape.StrideV + item]);
        }
    }

    private static void StoreKey(KvView cache, int slot, int column, float value)
    {
        int head = column / cache.HeadDim, block = slot / cache.BlockTokens;
        if (slot >= 0 && block < cache.Blocks)
            KvView.Write(cache, cache.Keys, KvView.TileStart(cache, block, head) + KvView.KeyOffset(cache, slot % cache.BlockTokens, column % cache.HeadDim), value);
    }

    private static void StoreValue(KvView cache, int slot, int column, float value)
    {
        int head = column / cache.HeadDim, block = slot / cache.BlockTokens;
        if (slot >= 0 && block < cache.Blocks)
            KvView.Write(cache, cache.Values, KvView.TileStart(cache, block, head) + KvView.ValueOffset(cache, slot % cache.BlockTokens, column % cache.HeadDim), value);
    }
}
