using NUnit.Framework;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Reference;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>The cache's size, and copies of its blocks.</summary>
public sealed class KvCacheTests
{
    [TestCase("olmo2", ElementType.Float32, 16 * 4)]
    [TestCase("olmo2", ElementType.Float16, 16 * 2)]
    [TestCase("olmo2", ElementType.BFloat16, 16 * 2)]
    [TestCase("llama-q8_0", ElementType.Q8, 32 + 2)]
    public void Bytes_OfAnyRank_AreBlocksTimesBytesPerBlock(string model, ElementType type, int headBytes)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(model);
        using CpuBackend ops = new(threads: 1);
        for (int rank = 0; rank < 4; rank++)
        {
            ShardPlan plan = new(checkpoint.Config, Partition.Even(checkpoint.Config, 4), rank);
            using KvCache cache = new(checkpoint.Config, plan, type, blockTokens: 8, blocks: 5, ops);
            long perBlock = KvCache.BytesPerBlock(checkpoint.Config, plan, type, blockTokens: 8);
            Assert.That(perBlock, Is.EqualTo(2L * 2 * plan.LocalKvHeads * 8 * headBytes));
            Assert.That(cache.Bytes, Is.EqualTo(5 * perBlock));
        }
    }

    [Test]
    public void CopyBlock_OfAnyBits_CopiesThemAndNothingElse(
        [Values("cpu", "reference", "cuda emulated")] string device, [Values(ElementType.Float32, ElementType.Float16, ElementType.BFloat16, ElementType.Q8)] ElementType type,
        [Values(16, 5)] int blockTokens)
    {
        if (type == ElementType.Q8 && device == "cuda emulated")
            Assert.Pass("A Q8 cache is for CPUs.");
        const int blocks = 6;
        using RandomCheckpoint checkpoint = OddModels.Create(type == ElementType.Q8 ? "llama-q8_0" : "olmo2");
        using ITensorBackend ops = device switch
        {
            "cpu" => new CpuBackend(threads: 2),
            "reference" => new ReferenceBackend(),
            _ => new CudaBackend(CudaContext.Emulated()),
        };
        ShardPlan plan = new(checkpoint.Config, Partition.Even(checkpoint.Config, 2), 1);
        using KvCache cache = new(checkpoint.Config, plan, type, blockTokens, blocks, ops);
        Tensor[] parts = [.. Enumerable.Range(0, checkpoint.Config.Layers).SelectMany(layer => new[] { cache.Layer(layer)!.Keys, cache.Layer(layer)!.Values })];
        byte[][] before = [.. parts.Select((tensor, part) => Random(tensor, part))];
        for (int part = 0; part < parts.Length; part++)
            ops.Upload<byte>(before[part], parts[part]);

        cache.CopyBlock(4, 1, ops);
        cache.CopyBlock(1, 0, ops); // of what has just been copied
        cache.CopyBlock(5, 5, ops);
        for (int part = 0; part < parts.Length; part++)
        {
            byte[] after = new byte[before[part].Length];
            ops.Download<byte>(parts[part], after);
            byte[][] expected = before[part].Chunk(after.Length / blocks).ToArray();
            (expected[1], expected[0]) = (expected[4], expected[4]);
            Assert.That(after, Is.EqualTo(expected.SelectMany(block => block)), $"part {part}");
        }
    }

    [TestCase(6, 0)]
    [TestCase(0, -1)]
    public void CopyBlock_BeyondTheCache_IsRefused(int source, int destination)
    {
        using RandomCheckpoint checkpoint = OddModels.Create("olmo2");
        using CpuBackend ops = new(threads: 1);
        ShardPlan plan = new(checkpoint.Config, Partition.Even(checkpoint.Config, 1), 0);
        using KvCache cache = new(checkpoint.Config, plan, ElementType.Float16, blockTokens: 16, blocks: 6, ops);
        Assert.That(() => cache.CopyBlock(source, destination, ops), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    /// <summary>Every pattern of bits: NaNs with payloads, subnormals and zeros of both signs too.</summary>
    private static byte[] Random(Tensor tensor, int seed)
    {
        byte[] bytes = new byte[(long)tensor.Rows * tensor.Columns * tensor.Type.SizeBytes()];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
