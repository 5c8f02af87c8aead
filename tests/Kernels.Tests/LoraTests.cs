using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Reference;
using TpServe.Testing;

namespace TpServe.Kernels.Tests;

/// <summary>The two products of a low-rank adapter against the plain loops, and the same bits whatever shares their step.</summary>
public sealed class LoraTests
{
    private const float Guard = -12345f;

    [TestCase(1, 1, 1, 1)]
    [TestCase(3, 4, 127, 33)]
    [TestCase(2, 16, 2048, 512)]
    [TestCase(5, 7, 200, 65)]
    public void Lora_AnyShape_MatchesReference(int rows, int ranks, int inputs, int outputs)
    {
        using ReferenceBackend reference = new();
        using CpuBackend cpu = new(threads: 2);
        int[] changed = [.. Enumerable.Range(0, rows).Where(row => row % 2 == 0)];
        InputLeaves leaves = inputs < 3 ? InputLeaves.Whole(inputs) : new([10, 10 + inputs / 3, 10 + inputs], [0, inputs % 2]);
        (float[] t, float[] y) expected = Run(reference, rows, ranks, leaves, outputs, changed), actual = Run(cpu, rows, ranks, leaves, outputs, changed);
        Assert.That(Numbers.Nmse(actual.t, expected.t), Is.LessThan(1e-10)); // float32 sums of up to 2048 products
        Assert.That(Numbers.Nmse(actual.y, expected.y), Is.LessThan(1e-10));
    }

    [Test]
    public void Lora_RowsAndThreads_ChangeNoBitAndUnnamedRowsKeepTheirs()
    {
        using CpuBackend one = new(threads: 1), two = new(threads: 2);
        InputLeaves leaves = new([0, 100, 2100], [0, 1]);
        float[] together = Run(two, 9, 40, leaves, 3000, [0, 3, 4, 8]).Y;
        foreach (int row in new[] { 0, 3, 4, 8 })
            Assert.That(Row(Run(one, 9, 40, leaves, 3000, [row]).Y, row), Is.EqualTo(Row(together, row)));
        Assert.That(Row(together, 5), Is.EqualTo(Enumerable.Repeat(Guard, 3000)));

        static float[] Row(float[] y, int row) => y[(row * 3000)..((row + 1) * 3000)];
    }

    private static (float[] T, float[] Y) Run(ITensorBackend ops, int rows, int ranks, InputLeaves leaves, int outputs, int[] changed)
    {
        Tensor x = Filled(ops, rows, leaves.Columns, 1), a = Filled(ops, ranks, leaves.Columns, 2), b = Filled(ops, ranks, outputs, 3);
        Tensor pieces = ops.Rent(leaves.Pieces * changed.Length, ranks + 2), y = ops.Rent(rows, outputs);
        float[] values = new float[rows * outputs], t = new float[leaves.Pieces * changed.Length * (ranks + 2)];
        Array.Fill(values, Guard);
        ops.Upload<float>(values, y);
        ops.LoraDown(x, changed, a, leaves, pieces, 0, changed.Length);
        ops.LoraUp(pieces.RowSlice(0, changed.Length).ColumnSlice(0, ranks), changed, 0, b, 0.5f, y);
        ops.Download<float>(pieces, t);
        ops.Download<float>(y, values);
        return (t, values);
    }

    private static Tensor Filled(ITensorBackend ops, int rows, int columns, int seed)
    {
        Tensor tensor = ops.Rent(rows, columns);
        ops.Upload<float>(Numbers.Uniform(rows * columns, seed), tensor);
        return tensor;
    }
}
