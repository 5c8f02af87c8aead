using NUnit.Framework;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Tests.Cpu;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Same bits: rows, their number, parts beside each other and the degree never change one.</summary>
[TestFixtureSource(nameof(Cases))]
public sealed class LinearBitsTests(string device, CudaActivations activations) : CudaFixture(device, activations)
{
    private static IEnumerable<TestFixtureData> Cases =>
        from device in CudaDevices.All from activations in Enum.GetValues<CudaActivations>() select new TestFixtureData(device, activations);

    private static IEnumerable<WeightFormat> Formats => [WeightFormat.F32, WeightFormat.BF16, WeightFormat.F16, WeightFormat.Q4_1, WeightFormat.Q6_K, WeightFormat.Q2_K];

    [TestCaseSource(nameof(Formats))]
    public void Linear_AnyNumberOfRows_EachRowAsIfAlone(WeightFormat format)
    {
        int columns = 512, outputs = 20, most = 33;
        LinearWeights weights = LinearWeights.Random(format, outputs, columns, seed: 1);
        InputLeaves leaves = LinearTree.Share([0, 96, 192, 288, 384, 480, 512], 0, 6);
        float[] x = Numbers.Uniform(most * columns, seed: 2);
        float[] all = LinearScene.Product(Backend, Device, weights, leaves, x, most);
        foreach ((int first, int rows) in new[] { (0, 1), (32, 1), (5, 3), (11, 9) })
        {
            float[] y = LinearScene.Product(Backend, Device, weights, leaves, x[(first * columns)..((first + rows) * columns)], rows);
            Assert.That(y, Is.EqualTo(all[(first * outputs)..((first + rows) * outputs)]), $"{rows} rows from {first}");
        }
    }

    [TestCaseSource(nameof(Formats))]
    public void LinearPieces_AnySplitOfTheLeaves_SumsToOneRanksBits(WeightFormat format)
    {
        int columns = 768, outputs = 20, rows = 2;
        LinearWeights weights = LinearWeights.Random(format, outputs, columns, seed: 5);
        float[] x = Numbers.Uniform(rows * columns, seed: 6);
        foreach (int leafColumns in new[] { 72, 96 })
        {
            int[] boundaries = [.. Enumerable.Range(0, (columns + leafColumns - 1) / leafColumns).Select(leaf => leaf * leafColumns), columns];
            int leaves = boundaries.Length - 1;
            float[] whole = LinearScene.Product(Backend, Device, weights, LinearTree.Share(boundaries, 0, leaves), x, rows);
            foreach (int degree in new[] { 2, 3 })
            {
                Dictionary<(int, int), float[]> pieces = [];
                for (int rank = 0; rank < degree; rank++)
                {
                    int from = leaves * rank / degree, to = leaves * (rank + 1) / degree;
                    float[] slice = LinearScene.Slice(x, rows, columns, boundaries[from], boundaries[to]);
                    float[] own = LinearScene.Product(Backend, Device, weights, LinearTree.Share(boundaries, from, to), slice, rows);
                    List<(int, int)> ranges = LinearTree.Pieces(leaves, from, to);
                    for (int piece = 0; piece < ranges.Count; piece++)
                        pieces[ranges[piece]] = own[(piece * rows * outputs)..((piece + 1) * rows * outputs)];
                }
                Assert.That(LinearTree.Finish(pieces, 0, leaves), Is.EqualTo(whole), $"leaves of {leafColumns}, degree {degree}");
            }
        }
    }

    [Test]
    public void LinearPieces_RankOrderSums_Differ()
    {
        // The negative control: adding whole ranks instead of subtrees gives other bits, so the equality above says something.
        int columns = 768, outputs = 40;
        LinearWeights weights = LinearWeights.Random(WeightFormat.Q8_0, outputs, columns, seed: 5);
        float[] x = Numbers.Uniform(columns, seed: 6);
        int[] boundaries = [.. Enumerable.Range(0, 25).Select(leaf => leaf * 32)];
        float[] whole = LinearScene.Product(Backend, Device, weights, LinearTree.Share(boundaries, 0, 24), x, 1);
        float[] left = LinearScene.Product(Backend, Device, weights, InputLeaves.Whole(384), x[..384], 1);
        float[] right = LinearScene.Product(Backend, Device, weights, new InputLeaves([384, 768], [0]), x[384..], 1);
        Assert.That(left.Zip(right, (a, b) => a + b), Is.Not.EqualTo(whole));
    }

    [Test]
    public void Linear_SeveralPartsOfDifferentFormats_SideBySide([Values(1, 9)] int rows)
    {
        int columns = 512;
        LinearWeights[] weights = [.. new[] { WeightFormat.Q4_K, WeightFormat.Q4_K, WeightFormat.Q6_K, WeightFormat.F32, WeightFormat.F32, WeightFormat.F32, WeightFormat.F32 }
            .Select((format, i) => LinearWeights.Random(format, 8 + (5 * i), columns, seed: i))];
        InputLeaves leaves = InputLeaves.Whole(columns);
        float[] x = Numbers.Uniform(rows * columns, seed: 8);
        PackedWeight[] parts = [.. weights.Select(weight => Backend.PackWeight(weight, leaves))];
        int outputs = parts.Sum(part => part.Outputs), column = 0;
        Tensor y = Device.Empty(rows, outputs, gap: 7);
        Backend.Linear(Device.Of(x, rows, columns, gap: 2), parts, y);
        float[] actual = Device.Values(y);
        foreach (LinearWeights weight in weights)
        {
            float[] alone = LinearScene.Product(Backend, Device, weight, leaves, x, rows);
            Assert.That(LinearScene.Slice(actual, rows, outputs, column, column + weight.Outputs), Is.EqualTo(alone));
            column += weight.Outputs;
        }
        foreach (PackedWeight part in parts)
            part.Dispose();
    }

    [TestCase(WeightFormat.BF16)]
    [TestCase(WeightFormat.Q4_K)]
    public void Linear_ThreePartsOfOneFormat_TakesTwoLaunchesAtMost(WeightFormat format)
    {
        InputLeaves leaves = InputLeaves.Whole(256);
        PackedWeight[] parts = [.. Enumerable.Range(0, 3).Select(i => Backend.PackWeight(LinearWeights.Random(format, 16, 256, seed: i), leaves))];
        Tensor x = Device.Of(Numbers.Uniform(256, seed: 3), 1, 256), y = Device.Empty(1, 48);
        long before = Backend.Launches;
        Backend.Linear(x, parts, y);
        Assert.That(Backend.Launches - before, Is.LessThanOrEqualTo(2));
        foreach (PackedWeight part in parts)
            part.Dispose();
    }

    [Test]
    public void Linear_TwoFormatsOfOneArithmetic_PackTheirInputOnce()
    {
        InputLeaves leaves = InputLeaves.Whole(256);
        PackedWeight[] parts = [.. new[] { WeightFormat.Q4_K, WeightFormat.Q4_K, WeightFormat.Q6_K }.Select((format, i) => Backend.PackWeight(LinearWeights.Random(format, 16, 256, seed: i), leaves))];
        Tensor x = Device.Of(Numbers.Uniform(256, seed: 3), 1, 256), y = Device.Empty(1, 48);
        long before = Backend.Launches;
        Backend.Linear(x, parts, y);
        Assert.That(Backend.Launches - before, Is.LessThanOrEqualTo(3));
        foreach (PackedWeight part in parts)
            part.Dispose();
    }
}
