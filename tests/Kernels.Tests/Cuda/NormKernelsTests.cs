using NUnit.Framework;
using TpServe.Kernels.Reference;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Norms on the device against the oracle.</summary>
[TestFixtureSource(typeof(CudaDevices), nameof(CudaDevices.All))]
public sealed class NormKernelsTests(string device) : CudaFixture(device)
{
    private const double Bound = 1e-12; // float32 sums of some thousand squares

    [TestCase(1, 1)]
    [TestCase(3, 127)]
    [TestCase(2, 576)]
    [TestCase(1, 1025)] // above 1024 a group has more threads
    [TestCase(2, 4096)]
    public void RmsNorm_AnyRowLength_MatchesTheOracle(int rows, int dim)
    {
        float[] x = Numbers.Uniform(rows * dim, seed: 1), w = Numbers.Uniform(dim, seed: 2);
        Tensor actual = Device.Empty(rows, dim, gap: 3), expected = Host.Empty(rows, dim);
        Backend.RmsNorm(Device.Of(x, rows, dim, gap: 5), Device.Of(w, 1, dim), 1e-5f, actual);
        Oracle.RmsNorm(Host.Of(x, rows, dim), Host.Of(w, 1, dim), 1e-5f, expected);
        Assert.That(Numbers.Nmse(Device.Values(actual), HostTensors.Values(expected)), Is.LessThan(Bound));
    }

    [TestCase(1, 8)]
    [TestCase(3, 64)]
    [TestCase(5, 30)]
    public void RmsNorm_GroupsOfARow_MatchTheOracle(int groups, int dim)
    {
        float[] x = Numbers.Uniform(2 * groups * dim, seed: 3), w = Numbers.Uniform(dim, seed: 4);
        Tensor actual = Device.Of(x, 2, groups * dim, gap: 2), expected = Host.Of(x, 2, groups * dim);
        Backend.RmsNorm(actual, Device.Of(w, 1, dim), 1e-6f, actual);
        Oracle.RmsNorm(expected, Host.Of(w, 1, dim), 1e-6f, expected);
        Assert.That(Numbers.Nmse(Device.Values(actual), HostTensors.Values(expected)), Is.LessThan(Bound));
    }

    [TestCase(64)]
    [TestCase(130)]
    [TestCase(1100)]
    public void RmsNorm_RowAloneOrUnaligned_HasTheSameBits(int dim)
    {
        const int n = 3;
        float[] x = Numbers.Uniform(n * dim, seed: 5), w = Numbers.Uniform(dim, seed: 6);
        Tensor weight = Device.Of(w, 1, dim), whole = Device.Empty(n, dim);
        Backend.RmsNorm(Device.Of(x, n, dim), weight, 1e-5f, whole);
        for (int row = 0; row < n; row++)
        {
            Tensor alone = Device.Empty(1, dim + 1).ColumnSlice(1, dim);
            Backend.RmsNorm(Device.Of(x[(row * dim)..((row + 1) * dim)], 1, dim), weight, 1e-5f, alone);
            Assert.That(Device.Bits(alone), Is.EqualTo(Device.Bits(whole.RowSlice(row, 1))), $"row {row}");
        }
    }

    [Test]
    public void AddNorm_AnyRow_HasTheBitsOfBothOperations([Values(1, 100, 576, 1100)] int dim, [Values(1f, 0.22f)] float scale)
    {
        float[] x = Numbers.Uniform(2 * dim, seed: 7), y = Numbers.Uniform(2 * dim, seed: 8);
        Tensor weight = Device.Of(Numbers.Uniform(dim, seed: 9), 1, dim), addend = Device.Of(y, 2, dim, gap: 4);
        Tensor fused = Device.Of(x, 2, dim, gap: 1), fusedNorm = Device.Empty(2, dim), single = Device.Of(x, 2, dim), singleNorm = Device.Empty(2, dim, gap: 2);

        long before = Backend.Launches;
        Backend.AddNorm(fused, addend, scale, weight, 1e-5f, fusedNorm);
        Assert.That(Backend.Launches - before, Is.EqualTo(1));
        Backend.AddScaled(single, addend, scale);
        Backend.RmsNorm(single, weight, 1e-5f, singleNorm);

        Assert.That(Device.Bits(fused), Is.EqualTo(Device.Bits(single)));
        Assert.That(Device.Bits(fusedNorm), Is.EqualTo(Device.Bits(singleNorm)));
    }

    [TestCase(1, 5)]
    [TestCase(6, 64)]
    [TestCase(2, 1031)]
    public void SumSquares_GroupsOfARow_MatchTheOracleOnAnyRank(int groups, int dim)
    {
        float[] values = Numbers.Uniform(3 * groups * dim, seed: 10);
        Tensor x = Device.Of(values, 3, groups * dim, gap: 1), actual = Device.Empty(3, groups, gap: 4), expected = Host.Empty(3, groups);
        Backend.SumSquares(x, dim, actual);
        Oracle.SumSquares(Host.Of(values, 3, groups * dim), dim, expected);
        Assert.That(Numbers.Nmse(Device.Values(actual), HostTensors.Values(expected)), Is.LessThan(1e-13));

        Tensor last = Device.Empty(3, 1);
        Backend.SumSquares(x.ColumnSlice((groups - 1) * dim, dim), dim, last);
        Assert.That(Device.Bits(last), Is.EqualTo(Device.Bits(actual.ColumnSlice(groups - 1, 1))));
    }

    [Test]
    public void NormBySums_AnyNumberOfGroups_AddsThemByTheCanonicalTree([Values(1, 2, 3, 5, 7, 9, 24, 33, 64)] int groups)
    {
        const int columns = 70;
        float[] x = Numbers.Uniform(2 * columns, seed: 11), w = Numbers.Uniform(columns, seed: 12);
        float[] sums = [.. Numbers.Uniform(2 * groups, seed: 13).Select(v => 1000 * MathF.Abs(v))];
        Tensor actual = Device.Of(x, 2, columns, gap: 3);
        Backend.NormBySums(actual, Device.Of(sums, 2, groups, gap: 1), groups * columns, Device.Of(w, 1, columns), 1e-5f);
        float[] values = Device.Values(actual);
        for (int row = 0; row < 2; row++)
        {
            // The same steps in the same types: the tree's order shows in the bits.
            float sum = ReferenceNorms.TreeSum(sums.AsSpan(row * groups, groups));
            float factor = 1f / MathF.Sqrt(sum / (groups * columns) + 1e-5f);
            float[] expected = [.. Enumerable.Range(0, columns).Select(i => x[row * columns + i] * factor * w[i])];
            Assert.That(values[(row * columns)..((row + 1) * columns)], Is.EqualTo(expected));
        }
    }

    [Test]
    public void Norm_ShapesDisagree_IsRefusedNamingTheOperand()
    {
        Tensor x = Device.Of(new float[12], 3, 4), w = Device.Of(new float[4], 1, 4), three = Device.Of(new float[3], 1, 3), integers = Device.Of(1, 2, 3);
        Assert.That(() => Backend.RmsNorm(x, three, 1e-5f, x), Throws.ArgumentException.With.Message.Contains("not groups of 3"));
        Assert.That(() => Backend.RmsNorm(integers, three.ColumnSlice(0, 1), 1e-5f, x), Throws.ArgumentException.With.Message.Contains("elements of Float32"));
        Assert.That(() => Backend.AddNorm(x, x, 1f, three, 1e-5f, x), Throws.ArgumentException.With.Message.Contains("weight is 1 x 3"));
        Assert.That(() => Backend.SumSquares(x, 2, x), Throws.ArgumentException.With.Message.Contains("sums is 3 x 4"));
        Assert.That(() => Backend.NormBySums(x, three, 4, w, 1e-5f), Throws.ArgumentException.With.Message.Contains("sums is 1 x 3"));
        Assert.That(() => Backend.NormBySums(x, x, 3, w, 1e-5f), Throws.ArgumentException.With.Message.Contains("4 sums over 3 columns"));
        Assert.That(() => Backend.NormBySums(x, Device.Empty(3, 1025), 4, w, 1e-5f), Throws.ArgumentException.With.Message.Contains("the limit is 1024"));
    }
}
