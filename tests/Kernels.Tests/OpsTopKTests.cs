using NUnit.Framework;
using TpServe.Kernels.Cpu.Ops;
using TpServe.Testing;

namespace TpServe.Kernels.Tests;

/// <summary>The best of a row against a full stable sort.</summary>
public sealed class OpsTopKTests : OpsFixture
{
    private static readonly (string Name, Func<int, float[]> Make)[] Rows =
    [
        ("random", count => Numbers.Uniform(count, seed: 1)),
        ("ties", count => [.. Numbers.Uniform(count, seed: 2).Select(v => MathF.Round(4 * v))]),
        ("ascending", count => [.. Enumerable.Range(0, count).Select(i => (float)i)]),
        ("descending", count => [.. Enumerable.Range(0, count).Select(i => (float)-i)]),
        ("equal", count => new float[count]),
        ("minus infinity", count => [.. Enumerable.Range(0, count).Select(i => i % 50 == 7 ? i : float.NegativeInfinity)]),
        ("NaN", count => [.. Numbers.Uniform(count, seed: 3).Select((v, i) => i % 3 == 0 ? float.NaN : v)]),
        ("infinite", count => [.. Numbers.Uniform(count, seed: 4).Select((v, i) => i % 101 == 100 ? float.PositiveInfinity : v)]),
        ("zeros of both signs", count => [.. Enumerable.Range(0, count).Select(i => i % 2 == 0 ? -0f : 0f)]),
    ];

    [Test]
    public void TopK_AnyRow_EqualsAStableSort([Values(1, 2, 40, 64)] int k, [Values(1, 30, 64, 65, 127, 1000, 49152)] int count)
    {
        foreach ((string name, Func<int, float[]> make) in Rows)
        {
            Tensor x = Tensors.Of(make(count), 1, count);
            Tensor values = Tensors.Empty(1, k), ids = Tensors.Empty(1, k, ElementType.Int32);
            Tensor expected = Tensors.Empty(1, k), expectedIds = Tensors.Empty(1, k, ElementType.Int32);
            TopK.Run(Single, x, k, 1000, values, ids);
            Oracle.TopK(x, k, 1000, expected, expectedIds);
            Assert.That(HostTensors.Integers(ids), Is.EqualTo(HostTensors.Integers(expectedIds)), name);
            Assert.That(HostTensors.Values(values), Is.EqualTo(HostTensors.Values(expected)), name);
        }
    }

    [Test]
    public void TopK_SeveralRowsAndThreads_EqualOneRowAtATime()
    {
        const int n = 6, count = 70001, k = 8;
        Tensor x = Tensors.Of(Numbers.Uniform(n * count, seed: 9), n, count, gap: 5);
        Tensor values = Tensors.Empty(n, k, gap: 1), ids = Tensors.Empty(n, k, ElementType.Int32, gap: 3);
        TopK.Run(Pools[2], x, k, 0, values, ids);
        for (int row = 0; row < n; row++)
        {
            Tensor one = Tensors.Empty(1, k), oneIds = Tensors.Empty(1, k, ElementType.Int32);
            TopK.Run(Single, x.RowSlice(row, 1), k, 0, one, oneIds);
            Assert.That(HostTensors.Integers(ids.RowSlice(row, 1)), Is.EqualTo(HostTensors.Integers(oneIds)));
            Assert.That(Bits(values.RowSlice(row, 1)), Is.EqualTo(Bits(one)));
        }
    }

    [TestCase(0)]
    [TestCase(65)]
    public void TopK_KOutOfRange_IsRefused(int k) =>
        Assert.That(
            () => TopK.Run(Single, Tensors.Of(new float[100], 1, 100), k, 0, Tensors.Empty(1, k), Tensors.Empty(1, k, ElementType.Int32)),
            Throws.ArgumentException);
}
