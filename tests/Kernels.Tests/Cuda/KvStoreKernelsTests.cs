using NUnit.Framework;
using TpServe.Kernels.Cuda.Attention;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Keys and values in the device's cache: where they lie, how they are rounded, and the fused operation's bits.</summary>
[TestFixtureSource(typeof(CudaDevices), nameof(CudaDevices.All))]
public sealed class KvStoreKernelsTests(string device) : CudaFixture(device)
{
    private const int KvHeads = 2, Blocks = 3;

    [Test]
    public void StoreKv_AnyTypeAndSize_HoldsTheOraclesElementsEachInItsTile(
        [Values(ElementType.Float32, ElementType.Float16, ElementType.BFloat16)] ElementType type, [Values(32, 20)] int headDim, [Values(16, 5)] int blockTokens)
    {
        int rows = Blocks * blockTokens, columns = KvHeads * headDim;
        int[] slots = [.. Enumerable.Range(0, rows)];
        new Random(1).Shuffle(slots);
        float[] k = Numbers.Uniform(rows * columns, seed: 1), v = Numbers.Uniform(rows * columns, seed: 2);
        KvLayer cache = Cache(type, headDim, blockTokens), expected = OracleCache(type, headDim, blockTokens);
        Backend.StoreKv(Device.Of(k, rows, columns, gap: 3), Device.Of(v, rows, columns), Device.Of(slots), cache);
        Oracle.StoreKv(Host.Of(k, rows, columns), Host.Of(v, rows, columns), Host.Of(slots), expected);

        // The arrangement inside a tile is the device's own, so each tile holds the oracle's elements in some order, at the places the view names.
        KvView view = new(cache);
        Assert.That(view.Tiled, Is.EqualTo(type != ElementType.Float32 && headDim == 32 && blockTokens == 16 ? 1 : 0));
        Assert.That(Elements(cache.Keys, blockTokens, headDim, (position, i) => KvView.KeyOffset(view, position, i)), Is.EqualTo(Bytes(expected.Keys)));
        Assert.That(Elements(cache.Values, blockTokens, headDim, (position, i) => KvView.ValueOffset(view, position, i)), Is.EqualTo(Bytes(expected.Values)));
    }

    [TestCase(ElementType.Float16)]
    [TestCase(ElementType.BFloat16)]
    public void StoreKv_HardValues_RoundToNearestEven(ElementType type)
    {
        float[] k =
        [
            0f, -0f, 1.00048828f, 1.00146484f, 1.00390625f, 1.01171875f, 65504f, 65519.99f, 65520f, -1e6f, float.PositiveInfinity, float.NegativeInfinity,
            6e-8f, 2.98e-8f, 2.9802322e-8f, 6.1e-5f, float.Epsilon, float.MaxValue, 3.1415927f, -1e-40f,
        ];
        KvLayer cache = Cache(type, k.Length / KvHeads, 1), expected = OracleCache(type, k.Length / KvHeads, 1);
        Backend.StoreKv(Device.Of(k, 1, k.Length), Device.Of(k, 1, k.Length), Device.Of(1), cache);
        Oracle.StoreKv(Host.Of(k, 1, k.Length), Host.Of(k, 1, k.Length), Host.Of(1), expected);
        Assert.That(Device.Bytes(cache.Keys)[(2 * k.Length)..(4 * k.Length)], Is.EqualTo(Bytes(expected.Keys)[(2 * k.Length)..(4 * k.Length)]));
    }

    [Test]
    public void StoreKv_SlotOutsideTheCache_StoresNothing()
    {
        KvLayer cache = Cache(ElementType.Float16, 16, 16);
        byte[] before = Device.Bytes(cache.Keys);
        Tensor k = Device.Of(new float[64], 2, 32);
        Backend.StoreKv(k, k, Device.Of(-1, Blocks * 16), cache);
        Assert.That(Device.Bytes(cache.Keys), Is.EqualTo(before));
    }

    [TestCase(32, 32, ElementType.Float16)]
    [TestCase(32, 12, ElementType.BFloat16)]
    [TestCase(20, 20, ElementType.Float32)]
    public void RopeStoreKv_OneLaunch_HasTheBitsOfTheSingleOperations(int headDim, int rotary, ElementType type)
    {
        int[] positions = [3, 0, 7], slots = [17, 0, 40];
        float[] qkv = Numbers.Uniform(3 * (3 + KvHeads + KvHeads) * headDim, seed: 1), table = Numbers.Uniform(8 * rotary, seed: 2);
        Tensor one = Device.Of(qkv, 3, 7 * headDim), other = Device.Of(qkv, 3, 7 * headDim), angles = Device.Of(table, 8, rotary);
        KvLayer fused = Cache(type, headDim, 16), single = Cache(type, headDim, 16);
        (Tensor q, Tensor k, Tensor v) = (one.ColumnSlice(0, 3 * headDim), one.ColumnSlice(3 * headDim, 2 * headDim), one.ColumnSlice(5 * headDim, 2 * headDim));
        (Tensor q2, Tensor k2, Tensor v2) = (other.ColumnSlice(0, 3 * headDim), other.ColumnSlice(3 * headDim, 2 * headDim), other.ColumnSlice(5 * headDim, 2 * headDim));

        long before = Backend.Launches;
        Backend.RopeStoreKv(q, k, v, Device.Of(positions), angles, headDim, Device.Of(slots), fused);
        Assert.That(Backend.Launches - before, Is.EqualTo(1));

        Backend.Rope(q2, Device.Of(positions), angles, headDim);
        Backend.Rope(k2, Device.Of(positions), angles, headDim);
        Backend.StoreKv(k2, v2, Device.Of(slots), single);
        Assert.That(Device.Bits(one), Is.EqualTo(Device.Bits(other)));
        Assert.That(Device.Bytes(fused.Keys), Is.EqualTo(Device.Bytes(single.Keys)));
        Assert.That(Device.Bytes(fused.Values), Is.EqualTo(Device.Bytes(single.Values)));
    }

    [Test]
    public void StoreKv_WrongShapes_AreRefused()
    {
        KvLayer cache = Cache(ElementType.Float16, 16, 16);
        Tensor k = Device.Empty(1, 32);
        Assert.That(() => Backend.StoreKv(k, Device.Empty(1, 16), Device.Of(0), cache), Throws.ArgumentException.With.Message.Contains("v is 1 x 16"));
        Assert.That(() => Backend.StoreKv(k, k, Device.Of(0, 1), cache), Throws.ArgumentException.With.Message.Contains("slots"));
    }

    private KvLayer Cache(ElementType type, int headDim, int blockTokens)
    {
        int rows = Blocks * KvHeads * blockTokens;
        byte[] zeros = new byte[rows * headDim * type.SizeBytes()];
        return new KvLayer(Device.OfBytes(zeros, rows, headDim, type), Device.OfBytes(zeros, rows, headDim, type), KvHeads, blockTokens);
    }

    private KvLayer OracleCache(ElementType type, int headDim, int blockTokens)
    {
        int rows = Blocks * KvHeads * blockTokens;
        return new KvLayer(Host.Empty(rows, headDim, type), Host.Empty(rows, headDim, type), KvHeads, blockTokens);
    }

    /// <summary>The elements of every tile, position after position.</summary>
    private byte[] Elements(Tensor tensor, int blockTokens, int headDim, Func<int, int, int> offset)
    {
        int size = tensor.Type.SizeBytes(), tile = blockTokens * headDim;
        byte[] bytes = Device.Bytes(tensor), ordered = new byte[bytes.Length];
        for (int i = 0; i < bytes.Length / size; i++)
            Array.Copy(bytes, (i / tile * tile + offset(i % tile / headDim, i % headDim)) * size, ordered, i * size, size);
        return ordered;
    }

    private static unsafe byte[] Bytes(Tensor tensor) => new ReadOnlySpan<byte>(tensor.HostRow<byte>(0), tensor.Rows * tensor.Columns * tensor.Type.SizeBytes()).ToArray();
}
