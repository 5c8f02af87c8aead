using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Sharding.Tests;

public sealed class SumTreeTests
{
    /// <summary>The oracle: the definition, recursively.</summary>
    private static float Reference(ReadOnlySpan<float> values)
    {
        if (values.Length == 1)
            return values[0];
        int left = (values.Length + 1) / 2;
        return Reference(values[..left]) + Reference(values[left..]);
    }

    private static List<float> RunSchedule(IEnumerable<float> values, int[] merges)
    {
        List<float> stack = [];
        int i = 0;
        foreach (float value in values)
        {
            stack.Add(value);
            for (int m = 0; m < merges[i]; m++)
            {
                float upper = stack[^1];
                stack.RemoveAt(stack.Count - 1);
                stack[^1] += upper;
            }
            i++;
        }
        return stack;
    }

    [Test]
    public void Schedules_EveryCutOfUpTo40Leaves_GiveTheBitsOfTheRecursion()
    {
        for (int leaves = 1; leaves <= 40; leaves++)
        {
            float[] values = Numbers.Uniform(leaves, seed: leaves);
            float expected = Reference(values);
            Random random = new(leaves);
            for (int trial = 0; trial < 30; trial++)
            {
                int degree = 1 + random.Next(8);
                int[] boundaries = [0, .. Enumerable.Range(0, degree - 1).Select(_ => random.Next(leaves + 1)).Order(), leaves];
                List<float> pieces = [];
                for (int rank = 0; rank < degree; rank++)
                {
                    int first = boundaries[rank], end = boundaries[rank + 1];
                    List<float> own = RunSchedule(values[first..end], SumTree.MergesWithin(leaves, first, end));
                    Assert.That(own, Has.Count.EqualTo(SumTree.Pieces(leaves, first, end).Count));
                    pieces.AddRange(own);
                }
                List<float> root = RunSchedule(pieces, SumTree.FinishingMerges(leaves, boundaries));
                Assert.That(root, Has.Count.EqualTo(1));
                Assert.That(BitConverter.SingleToInt32Bits(root[0]), Is.EqualTo(BitConverter.SingleToInt32Bits(expected)), $"{leaves} leaves cut at {string.Join(",", boundaries)}");
            }
        }
    }

    [Test]
    public void RankOrderSums_OfManyLeaves_DifferFromTheTree()
    {
        int different = 0;
        for (int seed = 0; seed < 100; seed++)
        {
            float[] values = Numbers.Uniform(24, seed);
            float naive = values.Take(12).Aggregate((a, b) => a + b) + values.Skip(12).Aggregate((a, b) => a + b);
            if (naive != Reference(values))
                different++;
        }
        Assert.That(different, Is.GreaterThan(20), "the negative control must be able to fail");
    }

    [TestCase(24, 0, 12, 1)]
    [TestCase(24, 12, 24, 1)]
    [TestCase(9, 0, 5, 1)]
    [TestCase(9, 5, 9, 1)]
    [TestCase(9, 3, 6, 2)]
    [TestCase(9, 4, 4, 0)]
    public void Pieces_KnownRanges_AreTheMaximalSubtrees(int leaves, int first, int end, int count)
    {
        Assert.That(SumTree.Pieces(leaves, first, end), Has.Count.EqualTo(count));
    }
}
