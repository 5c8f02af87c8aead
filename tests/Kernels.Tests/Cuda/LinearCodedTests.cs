using NUnit.Framework;
using TpServe.Kernels.Tests.Cpu;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Products of quantised weights with activations of 8 bits a block of 32, against exact products of the same numbers.</summary>
[TestFixtureSource(typeof(CudaDevices), nameof(CudaDevices.All))]
public sealed class LinearCodedTests(string device) : CudaFixture(device)
{
    private static IEnumerable<WeightFormat> Formats => LinearWeights.Layouts.Where(format => format.BlockValues() > 1 && format != WeightFormat.FP8);

    [Test]
    public void Linear_WholeRows_MatchesExactProducts([ValueSource(nameof(Formats))] WeightFormat format, [Values(1, 3, 9, 33)] int rows)
    {
        LinearWeights weights = LinearWeights.Random(format, 37, 768, seed: 1);
        float[] x = Numbers.Uniform(rows * 768, seed: 2);
        float[] actual = LinearScene.Product(Backend, Device, weights, InputLeaves.Whole(768), x, rows);
        Assert.That(Numbers.Nmse(actual, QuantisedProducts.Of(weights, InputLeaves.Whole(768), x, rows)), Is.LessThan(QuantisedProducts.Bound));
    }

    [TestCaseSource(nameof(Formats))]
    public void LinearPieces_LeavesThatCutBlocks_MatchExactProducts(WeightFormat format)
    {
        LinearWeights weights = LinearWeights.Random(format, 20, 768, seed: 5);
        int[] boundaries = [0, 100, 200, 300, 400, 500, 600, 700, 768];
        InputLeaves share = LinearTree.Share(boundaries, 1, 6);
        float[] x = Numbers.Uniform(3 * share.Columns, seed: 6);
        float[] actual = LinearScene.Product(Backend, Device, weights, share, x, 3);
        Assert.That(Numbers.Nmse(actual, QuantisedProducts.Of(weights, share, x, 3)), Is.LessThan(QuantisedProducts.Bound));
    }

    [TestCaseSource(nameof(Formats))]
    public void Linear_AgainstExactWeightsAndInputs_WithinTheActivationsNoise(WeightFormat format)
    {
        LinearWeights weights = LinearWeights.Random(format, 64, 1024, seed: 3);
        float[] x = Numbers.Uniform(1024, seed: 4);
        float[] exact = [.. Enumerable.Range(0, 64).Select(output => (float)QuantisedProducts.Values(weights, output).Zip(x, (w, v) => (double)w * v).Sum())];
        // 2.4e-5 to 3.0e-5 measured on uniform inputs.
        Assert.That(Numbers.Nmse(LinearScene.Product(Backend, Device, weights, InputLeaves.Whole(1024), x, 1), exact), Is.LessThan(1e-4));
    }

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    public void Linear_InputNotFinite_OutputNotFinite(float bad)
    {
        float[] x = Numbers.Uniform(512, seed: 2);
        x[100] = bad;
        foreach (WeightFormat format in new[] { WeightFormat.Q4_0, WeightFormat.Q4_K, WeightFormat.Q6_K, WeightFormat.Q2_K })
        {
            LinearWeights weights = LinearWeights.Random(format, 16, 512, seed: 1);
            Assert.That(LinearScene.Product(Backend, Device, weights, InputLeaves.Whole(512), x, 1).Any(float.IsFinite), Is.False, $"{format}");
        }
    }

    [TestCase(0f)]
    [TestCase(1e-38f)]
    [TestCase(1e-44f)]
    public void Linear_VanishingInput_FiniteAndTiny(float magnitude)
    {
        float[] x = [.. Numbers.Uniform(512, seed: 2).Select(value => value * magnitude)];
        LinearWeights weights = LinearWeights.Random(WeightFormat.Q4_1, 16, 512, seed: 1);
        Assert.That(LinearScene.Product(Backend, Device, weights, InputLeaves.Whole(512), x, 1).All(value => MathF.Abs(value) < 1e-36f), Is.True);
    }
}
