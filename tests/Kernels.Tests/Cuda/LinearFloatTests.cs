using System.Runtime.InteropServices;
using NUnit.Framework;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Tests.Cpu;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Products with float32 activations and weights of every format, and embedding rows, against the oracle.</summary>
[TestFixtureSource(typeof(CudaDevices), nameof(CudaDevices.All))]
public sealed class LinearFloatTests(string device) : CudaFixture(device, CudaActivations.Float32)
{
    // float32 sums of 300 and 512 products in another order than the oracle's: 1e-13 measured.
    private const double Bound = 1e-12;

    private static IEnumerable<WeightFormat> Formats => Enum.GetValues<WeightFormat>();

    [TestCaseSource(nameof(Formats))]
    public void Linear_EveryFormat_MatchesTheOracle(WeightFormat format)
    {
        LinearWeights weights = LinearWeights.Random(format, 37, 512, seed: 1);
        float[] x = Numbers.Uniform(5 * 512, seed: 2);
        float[] actual = LinearScene.Product(Backend, Device, weights, InputLeaves.Whole(512), x, 5);
        Assert.That(Numbers.Nmse(actual, Expected(weights, InputLeaves.Whole(512), x, 5)), Is.LessThan(Bound));
    }

    [TestCase(WeightFormat.F32, 1)]
    [TestCase(WeightFormat.F16, 33)]
    [TestCase(WeightFormat.BF16, 301)]
    public void Linear_FloatWeightsOfAnyWidth_MatchesTheOracle(WeightFormat format, int columns)
    {
        LinearWeights weights = LinearWeights.Random(format, 35, columns, seed: 1);
        float[] x = Numbers.Uniform(3 * columns, seed: 2);
        float[] actual = LinearScene.Product(Backend, Device, weights, InputLeaves.Whole(columns), x, 3);
        Assert.That(Numbers.Nmse(actual, Expected(weights, InputLeaves.Whole(columns), x, 3)), Is.LessThan(Bound));
    }

    [TestCaseSource(nameof(Formats))]
    public void LinearPieces_LeavesThatCutBlocks_MatchTheOracle(WeightFormat format)
    {
        LinearWeights weights = LinearWeights.Random(format, 20, 768, seed: 5);
        int[] boundaries = [0, 100, 200, 300, 400, 500, 600, 700, 768];
        InputLeaves share = LinearTree.Share(boundaries, 1, 6);
        float[] x = Numbers.Uniform(2 * share.Columns, seed: 6);
        float[] actual = LinearScene.Product(Backend, Device, weights, share, x, 2);
        Assert.That(Numbers.Nmse(actual, Expected(weights, share, x, 2)), Is.LessThan(Bound));
    }

    [TestCaseSource(nameof(Formats))]
    public void Embed_GoldenBlocks_EqualTheirValuesBitForBit(WeightFormat format)
    {
        byte[] raw = File.ReadAllBytes(TestData.FindOrIgnore($"quants/{format}.raw"));
        float[] expected = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(TestData.FindOrIgnore($"quants/{format}.f32"))).ToArray();
        const int columns = 1024;
        int rows = expected.Length / columns;
        using PackedWeight table = Backend.PackWeight(new LinearWeights(format, rows, columns, raw), InputLeaves.Whole(columns));
        Tensor y = Device.Empty(rows, columns, gap: 3);
        Backend.Embed(Device.Of([.. Enumerable.Range(0, rows)]), table, 0, 1f, y);
        Assert.That(Device.Values(y), Is.EqualTo(expected.Select(value => value + 0f)));
    }

    [Test]
    public void Embed_TokensOfOtherRanks_AreZero()
    {
        LinearWeights weights = LinearWeights.Random(WeightFormat.Q4_1, 40, 512, seed: 1);
        using PackedWeight table = Backend.PackWeight(weights, InputLeaves.Whole(512));
        int[] tokens = [9, 10, 49, 50, -1, int.MaxValue];
        Tensor y = Device.Empty(tokens.Length, 512), expected = Host.Empty(tokens.Length, 512);
        Backend.Embed(Device.Of(tokens), table, 10, 0.5f, y);
        Oracle.Embed(Host.Of(tokens), Oracle.PackWeight(weights, InputLeaves.Whole(512)), 10, 0.5f, expected);
        Assert.That(Device.Values(y), Is.EqualTo(HostTensors.Values(expected)));
    }

    [Test]
    public void Embed_NegativeZero_BecomesPositive()
    {
        float[] values = new float[50];
        values.AsSpan().Fill(-0f);
        using PackedWeight table = Backend.PackWeight(new MatrixRows(values, 1, 50), InputLeaves.Whole(50));
        Tensor y = Device.Empty(1, 50);
        Backend.Embed(Device.Of(0), table, 0, 1f, y);
        Assert.That(Device.Bits(y), Is.All.Zero);
    }

    [Test]
    public void Linear_ShapesDisagree_Throws()
    {
        using PackedWeight weight = Backend.PackWeight(LinearWeights.Random(WeightFormat.Q8_0, 64, 512, seed: 1), InputLeaves.Whole(512));
        Tensor x = Device.Empty(2, 512), narrow = Device.Empty(2, 256), y = Device.Empty(2, 63);
        Assert.That(() => Backend.Linear(x, [weight], y), Throws.ArgumentException);
        Assert.That(() => Backend.Linear(narrow, [weight], Device.Empty(2, 64)), Throws.ArgumentException);
        Assert.That(() => Backend.LinearPieces(x, weight, y), Throws.ArgumentException);
        Assert.That(
            () => Backend.PackWeight(LinearWeights.Random(WeightFormat.Q8_0, 64, 512, seed: 1), new InputLeaves([256, 544], [0])), Throws.ArgumentException);
    }

    private float[] Expected(LinearWeights weights, InputLeaves leaves, float[] x, int rows)
    {
        Tensor pieces = Host.Empty(rows * leaves.Pieces, weights.Outputs);
        using PackedWeight weight = Oracle.PackWeight(weights, leaves);
        Oracle.LinearPieces(Host.Of(x, rows, leaves.Columns), weight, pieces);
        return HostTensors.Values(pieces);
    }
}
