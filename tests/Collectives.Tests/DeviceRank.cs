using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests;

/// <summary>A rank whose tensors lie on a device: does operations there and on the host over a local group, and compares the bits.</summary>
internal sealed class DeviceRank(ICommunicator end, ITensorBackend ops, ICommunicator oracle)
{
    /// <summary>Operations that <see cref="Step"/> knows, counted from 0.</summary>
    public const int Operations = 6;

    /// <summary>One operation, whose shape all ranks draw from <paramref name="agreed"/> and whose values each draws from its own numbers.</summary>
    public void Step(int operation, Random agreed, Random own, int rows, int columns)
    {
        int degree = end.Degree;
        int[] firsts = LeafSums.Boundaries(columns, degree, agreed);
        int width = firsts[end.Rank + 1] - firsts[end.Rank];
        switch (operation)
        {
            case 0:
                {
                    int leaves = agreed.Next(1, 20);
                    SumTree(new LeafShare(new Leaves(1, leaves), LeafSums.Boundaries(leaves, degree, agreed), end.Rank), own, rows, columns);
                    break;
                }
            case 1:
                {
                    using Matrix x = RandomMatrix(rows, columns, own), expected = new(rows, columns);
                    for (int i = 0; i < rows * columns; i++)
                        if (i % degree != end.Rank)
                            x.Floats[i] = 0;
                    x.Floats.CopyTo(expected.Floats);
                    using DeviceBuffer buffer = Place(x, out Tensor device);
                    end.SumDisjoint(device);
                    oracle.SumDisjoint(expected.View);
                    Compare(device, expected, "SumDisjoint");
                    break;
                }
            case 2:
            case 3:
                {
                    bool all = operation == 2, reads = all || end.Rank == 0;
                    using Matrix x = RandomMatrix(rows, width, own), y = RandomMatrix(rows, columns, own), expected = new(rows, columns);
                    using DeviceBuffer from = Place(x, out Tensor part), to = Place(y, out Tensor whole);
                    if (all)
                    {
                        end.AllGather(part, firsts, whole);
                        oracle.AllGather(x.View, firsts, expected.View);
                    }
                    else
                    {
                        end.Gather(part, firsts, reads ? whole : default);
                        oracle.Gather(x.View, firsts, expected.View);
                    }
                    Compare(whole, reads ? expected : y, all ? "AllGather" : "Gather");
                    break;
                }
            case 4:
                {
                    int root = agreed.Next(degree);
                    using Matrix x = RandomMatrix(rows, columns, own), expected = new(rows, columns, x.Floats);
                    using DeviceBuffer buffer = Place(x, out Tensor device);
                    end.Broadcast(device, root);
                    oracle.Broadcast(expected.View, root);
                    Compare(device, expected, "Broadcast");
                    break;
                }
            default:
                end.Barrier();
                oracle.Barrier();
                break;
        }
    }

    /// <summary>A canonical sum of random pieces.</summary>
    public void SumTree(LeafShare share, Random own, int rows, int columns)
    {
        using Matrix pieces = RandomMatrix(share.Pieces * rows, columns, own), y = RandomMatrix(rows, columns, own), expected = new(rows, columns);
        using DeviceBuffer from = Place(pieces, out Tensor parts), to = Place(y, out Tensor sum);
        end.SumTree(parts, share, sum);
        oracle.SumTree(pieces.View, share, expected.View);
        Compare(sum, expected, "SumTree");
    }

    /// <summary>A copy on the device.</summary>
    private DeviceBuffer Place(Matrix matrix, out Tensor tensor)
    {
        Tensor view = matrix.View;
        DeviceBuffer buffer = ops.Allocate(matrix.Floats.Length * sizeof(float));
        tensor = new Tensor(buffer, 0, view.Rows, view.Columns, view.Columns, view.Type);
        if (matrix.Floats.Length > 0)
            ops.Upload<float>(matrix.Floats, tensor);
        return buffer;
    }

    private void Compare(Tensor actual, Matrix expected, string operation)
    {
        int[] bits = new int[expected.Ints.Length];
        if (bits.Length > 0)
            ops.Download<int>(actual, bits);
        if (!bits.AsSpan().SequenceEqual(expected.Ints))
            Assert.Fail($"rank {end.Rank}: {operation} of {expected.View} differs first at {bits.AsSpan().CommonPrefixLength(expected.Ints)}");
    }

    private static Matrix RandomMatrix(int rows, int columns, Random random)
    {
        Matrix matrix = new(rows, columns);
        for (int i = 0; i < rows * columns; i++)
            matrix.Floats[i] = (float)((random.NextDouble() * 2 - 1) * (1 << random.Next(20)));
        return matrix;
    }
}
