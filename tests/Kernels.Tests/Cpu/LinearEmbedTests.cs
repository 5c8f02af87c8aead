using System.Runtime.InteropServices;
using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cpu;

/// <summary>Rows of packed tables: the exact values of each format.</summary>
[TestFixture]
public sealed class LinearEmbedTests
{
    private static IEnumerable<WeightFormat> Formats => Enum.GetValues<WeightFormat>();

    [TestCaseSource(nameof(Formats))]
    public void Embed_GoldenBlocks_EqualsTheirValuesBitForBit(WeightFormat format)
    {
        byte[] raw = File.ReadAllBytes(TestData.FindOrIgnore($"quants/{format}.raw"));
        float[] expected = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(TestData.FindOrIgnore($"quants/{format}.f32"))).ToArray();
        const int columns = 1024;
        int rows = expected.Length / columns;
        float[] actual = Embed(new LinearWeights(format, rows, columns, raw), [.. Enumerable.Range(0, rows)], firstRow: 0, scale: 1f);
        Assert.That(actual, Is.EqualTo(expected));
    }

    [Test]
    public void Embed_TokensOfOtherRanks_AreZero()
    {
        LinearWeights weights = LinearWeights.Random(WeightFormat.Q4_1, 40, 512, seed: 1);
        float[] actual = Embed(weights, [9, 10, 49, 50, -1, int.MaxValue], firstRow: 10, scale: 0.5f);
        float[] expected = new float[6 * 512];
        LinearOracle.Values(weights, 0).Select(value => value * 0.5f).ToArray().CopyTo(expected, 512);
        LinearOracle.Values(weights, 39).Select(value => value * 0.5f).ToArray().CopyTo(expected, 2 * 512);
        Assert.That(actual, Is.EqualTo(expected));
    }

    [Test]
    public void Embed_NegativeZero_BecomesPositive()
    {
        byte[] bytes = new byte[32 * 4];
        MemoryMarshal.Cast<byte, float>(bytes.AsSpan()).Fill(-0f);
        float[] actual = Embed(new LinearWeights(WeightFormat.F32, 1, 32, bytes), [0], firstRow: 0, scale: 1f);
        Assert.That(actual.Select(BitConverter.SingleToInt32Bits), Is.All.Zero);
    }

    private static float[] Embed(LinearWeights weights, int[] tokens, int firstRow, float scale)
    {
        using CpuThreads threads = new(2);
        using CpuLinear linear = new(threads, IsaPath.Scalar, CpuActivations.Auto);
        using CpuPackedWeight table = linear.Pack(weights, InputLeaves.Whole(weights.FileColumns));
        using HostBuffer ids = new(tokens.Length * 4);
        using HostBuffer memory = new(tokens.Length * weights.FileColumns * 4);
        Tensor idTensor = new(ids, 0, tokens.Length, 1, 1, ElementType.Int32);
        for (int i = 0; i < tokens.Length; i++)
            idTensor.HostSpan<int>(i)[0] = tokens[i];
        Tensor y = new(memory, 0, tokens.Length, weights.FileColumns, weights.FileColumns, ElementType.Float32);
        linear.Embed(idTensor, table, firstRow, scale, y);
        return [.. Enumerable.Range(0, tokens.Length).SelectMany(row => y.HostSpan<float>(row).ToArray())];
    }
}
