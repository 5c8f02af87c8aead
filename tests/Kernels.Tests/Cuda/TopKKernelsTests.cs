using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>The best of a row on the device against a full stable sort.</summary>
[TestFixtureSource(typeof(CudaDevices), nameof(CudaDevices.All))]
public sealed class TopKKernelsTests(string device) : CudaFixture(device)
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
        ("NaN alone", count => [.. Enumerable.Repeat(float.NaN, count)]),
        ("infinite", count => [.. Numbers.Uniform(count, seed: 4).Select((v, i) => i % 101 == 100 ? float.PositiveInfinity : v)]),
        ("zeros of both signs", count => [.. Enumerable.Range(0, count).Select(i => i % 2 == 0 ? -0f : 0f)]),
    ];

    private static readonly string[] Names = [.. Rows.Select(row => row.Name)];

    [Test]
    public void TopK_AnyRow_EqualsAStableSort(
        [ValueSource(nameof(Names))] string name, [Values(1, 2, 64)] int k, [Values(1, 65, 9000)] int count)
    {
        float[] row = Rows.Single(each => each.Name == name).Make(count);
        Tensor values = Device.Empty(1, k), ids = Device.Empty(1, k, ElementType.Int32);
        Tensor expected = Host.Empty(1, k), expectedIds = Host.Empty(1, k, ElementType.Int32);
        Backend.TopK(Device.Of(row, 1, count), k, 1000, values, ids);
        Oracle.TopK(Host.Of(row, 1, count), k, 1000, expected, expectedIds);
        Assert.That(Device.Integers(ids), Is.EqualTo(HostTensors.Integers(expectedIds)));
        Assert.That(Device.Bits(values), Is.EqualTo(HostTensors.Values(expected).Select(BitConverter.SingleToInt32Bits)));
    }

    [Test]
    public void TopK_VocabularyOfALargeModel_EqualsAStableSort([Values(1, 64)] int k)
    {
        const int count = 151936;
        float[] row = Numbers.Uniform(count, seed: 8);
        Tensor values = Device.Empty(1, k), ids = Device.Empty(1, k, ElementType.Int32), expected = Host.Empty(1, k), expectedIds = Host.Empty(1, k, ElementType.Int32);
        long before = Backend.Launches;
        Backend.TopK(Device.Of(row, 1, count), k, 0, values, ids);
        Assert.That(Backend.Launches - before, Is.EqualTo(2));
        Oracle.TopK(Host.Of(row, 1, count), k, 0, expected, expectedIds);
        Assert.That(Device.Integers(ids), Is.EqualTo(HostTensors.Integers(expectedIds)));
        Assert.That(Device.Values(values), Is.EqualTo(HostTensors.Values(expected)));
    }

    [TestCase(700)]
    [TestCase(5000)]
    public void TopK_SeveralRows_EqualOneRowAtATime(int count)
    {
        const int n = 3, k = 8;
        Tensor x = Device.Of(Numbers.Uniform(n * count, seed: 9), n, count, gap: 5);
        Tensor values = Device.Empty(n, k, gap: 1), ids = Device.Empty(n, k, ElementType.Int32, gap: 3);
        long mark = Backend.Mark();
        Backend.TopK(x, k, 0, values, ids);
        Assert.That(Backend.Mark(), Is.EqualTo(mark), "scratch is given back");
        for (int row = 0; row < n; row++)
        {
            Tensor one = Device.Empty(1, k), oneIds = Device.Empty(1, k, ElementType.Int32);
            Backend.TopK(x.RowSlice(row, 1), k, 0, one, oneIds);
            Assert.That(Device.Integers(ids.RowSlice(row, 1)), Is.EqualTo(Device.Integers(oneIds)));
            Assert.That(Device.Bits(values.RowSlice(row, 1)), Is.EqualTo(Device.Bits(one)));
        }
    }

    [Test]
    public void TopK_EmptyRow_IsFilled()
    {
        Tensor values = Device.Empty(1, 2), ids = Device.Empty(1, 2, ElementType.Int32);
        Backend.TopK(Device.Empty(1, 0), 2, 5, values, ids);
        Assert.That(Device.Values(values), Is.EqualTo(new[] { float.NegativeInfinity, float.NegativeInfinity }));
        Assert.That(Device.Integers(ids), Is.EqualTo(new[] { -1, -1 }));
    }

    [TestCase(0)]
    [TestCase(65)]
    public void TopK_KOutOfRange_IsRefused(int k) =>
        Assert.That(
            () => Backend.TopK(Device.Of(new float[100], 1, 100), k, 0, Device.Empty(1, k), Device.Empty(1, k, ElementType.Int32)),
            Throws.ArgumentException.With.Message.Contains("the limit is 64"));

    [Test]
    public void TopK_ShapesDisagree_IsRefused()
    {
        Tensor x = Device.Of(new float[20], 2, 10), values = Device.Empty(2, 3), ids = Device.Empty(2, 3, ElementType.Int32);
        Assert.That(() => Backend.TopK(x, 2, 0, values, ids), Throws.ArgumentException.With.Message.Contains("values is 2 x 3"));
        Assert.That(() => Backend.TopK(x, 3, 0, values, values), Throws.ArgumentException.With.Message.Contains("ids is 2 x 3 Float32"));
    }
}
