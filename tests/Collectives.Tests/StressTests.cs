using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests;

/// <summary>Thousands of random operations of skewed ranks, each also done by a local group: the bits must be the same.</summary>
[TestFixture("shm", 10_000)]
[TestFixture("shm-small", 10_000)]
[TestFixture("ring", 2_000)]
[TestFixture("ring-small", 1_000)]
[TestFixture("hosted", 1_000)]
public sealed class StressTests(string transport, int operations)
{
    [TestCase(2)]
    [TestCase(3)]
    public void Operations_RandomSequence_HaveTheBitsOfALocalGroup(int degree)
    {
        using TestGroup group = TestGroup.Create(transport, degree), local = TestGroup.Create("local", degree);
        group.Run(end =>
        {
            ICommunicator oracle = local.Ends[end.Rank];
            Random agreed = new(degree), own = new(end.Rank);
            for (int i = 0; i < operations; i++)
            {
                if (agreed.Next(4) == 0)
                    end.BeginStep(i);
                Thread.SpinWait(own.Next(200)); // skew
                int columns = agreed.Next(100) == 0 ? agreed.Next(1, 20_000) : agreed.Next(1, 600);
                Step(agreed.Next(6), end, oracle, agreed, own, columns);
            }
        });
    }

    private static void Step(int operation, ICommunicator end, ICommunicator oracle, Random agreed, Random own, int columns)
    {
        int degree = end.Degree;
        int[] firsts = LeafSums.Boundaries(columns, degree, agreed);
        switch (operation)
        {
            case 0:
            case 1:
                {
                    int leaves = agreed.Next(1, 20);
                    LeafShare share = new(new Leaves(1, leaves), LeafSums.Boundaries(leaves, degree, agreed), end.Rank);
                    using Matrix pieces = RandomMatrix(share.Pieces, columns, own), y = new(1, columns), expected = new(1, columns);
                    end.SumTree(pieces.View, share, y.View);
                    oracle.SumTree(pieces.View, share, expected.View);
                    Compare(y, expected, "SumTree");
                    break;
                }
            case 2:
                {
                    using Matrix x = RandomMatrix(1, firsts[end.Rank + 1] - firsts[end.Rank], own), y = new(1, columns), expected = new(1, columns);
                    end.AllGather(x.View, firsts, y.View);
                    oracle.AllGather(x.View, firsts, expected.View);
                    Compare(y, expected, "AllGather");
                    break;
                }
            case 3:
                {
                    using Matrix x = RandomMatrix(1, firsts[end.Rank + 1] - firsts[end.Rank], own), y = new(1, columns), expected = new(1, columns);
                    end.Gather(x.View, firsts, y.View);
                    oracle.Gather(x.View, firsts, expected.View);
                    Compare(y, expected, "Gather");
                    break;
                }
            case 4:
                {
                    int root = agreed.Next(degree);
                    using Matrix x = RandomMatrix(1, columns, own), expected = new(1, columns, x.Floats);
                    end.Broadcast(x.View, root);
                    oracle.Broadcast(expected.View, root);
                    Compare(x, expected, "Broadcast");
                    break;
                }
            default:
                {
                    using Matrix x = RandomMatrix(1, columns, own), expected = new(1, columns);
                    for (int i = 0; i < columns; i++)
                        if (i % degree != end.Rank)
                            x.Floats[i] = 0;
                    x.Floats.CopyTo(expected.Floats);
                    end.SumDisjoint(x.View);
                    oracle.SumDisjoint(expected.View);
                    Compare(x, expected, "SumDisjoint");
                    break;
                }
        }
    }

    private static Matrix RandomMatrix(int rows, int columns, Random random)
    {
        Matrix matrix = new(rows, columns);
        for (int i = 0; i < rows * columns; i++)
            matrix.Floats[i] = (float)((random.NextDouble() * 2 - 1) * (1 << random.Next(20)));
        return matrix;
    }

    private static void Compare(Matrix actual, Matrix expected, string operation)
    {
        if (!actual.Ints.SequenceEqual(expected.Ints))
            Assert.Fail($"{operation} of {actual.View} differs");
    }
}
