using TpServe.Kernels.Cuda.Driver;

namespace TpServe.Collectives.Tests.CudaIpc;

/// <summary>The kernels of a group at once on one card.</summary>
[Category("Gpu")]
public sealed class OneCardTests
{
    [TestCase(2)]
    [TestCase(3)]
    public void SumTree_RanksAsStreamsOfOneCard_HasTheBitsOfOneRankAlsoReplayed(int degree)
    {
        RequireGpu();
        using OneCardGroup group = new(ordinal: 0, degree);
        foreach (int columns in (int[])[1, 576, 4096, 40_001, 1_000_000])
        {
            float[][] leaves = LeafSums.Random(9, columns, seed: columns);
            float[] expected = LeafSums.Whole(leaves, 0, 9);
            foreach (float[] sum in group.Sum(columns, rank => LeafSums.Pieces(leaves, group.Share(rank))))
                Assert.That(sum.AsSpan().SequenceEqual(expected), Is.True, $"{columns} columns");
        }
    }

    [TestCase(2, 4096)]      // 16 KB
    [TestCase(2, 1 << 20)]   // two-shot
    public void SumTree_RanksAsStreamsOfOneCard_IsTimed(int degree, int columns)
    {
        RequireGpu();
        using OneCardGroup group = new(ordinal: 0, degree);
        double microseconds = group.Time(columns, times: 200);
        TestContext.Out.WriteLine($"SumTree of {columns} floats, {degree} ranks on one card: {microseconds:F2} us");
        Assert.That(microseconds, Is.GreaterThan(0));
    }

    private static void RequireGpu()
    {
        GpuSurvey survey = GpuProbe.Find();
        if (survey.Gpus.Count == 0)
            Assert.Ignore($"a GPU is needed ({survey.Reason})");
    }
}
