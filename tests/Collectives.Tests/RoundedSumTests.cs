using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests;

/// <summary>Sums whose pieces are rounded to be sent: what each rank ends with, and what it does not depend on.</summary>
public sealed class RoundedSumTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);
    private static readonly WireFormat[] s_wires = [WireFormat.BFloat16, WireFormat.Q8];

    /// <summary>Every transport that sends each rank's own pieces.</summary>
    private static readonly string[] s_flat = [.. TestGroup.Transports.Where(transport => transport != "hosted")];

    [Test]
    public void SumTree_RoundedPieces_IsTheTreeOverWhatWasSent(
        [ValueSource(nameof(s_flat))] string transport, [ValueSource(nameof(s_wires))] WireFormat wire, [Values(2, 3, 4)] int degree)
    {
        Random random = new(degree);
        using TestGroup group = TestGroup.Create(transport, degree, s_timeout, wire);
        for (int round = 0; round < 10; round++)
        {
            // Rows within a block of 4 KiB and longer than it; whole blocks of 32 elements and not.
            int leaves = random.Next(1, 33), rows = random.Next(1, 6), columns = round % 2 == 0 ? 32 * random.Next(1, 60) : random.Next(1, 2000);
            int[] boundaries = LeafSums.Boundaries(leaves, degree, random);
            float[][] values = LeafSums.Random(leaves, rows * columns, round);
            float[] expected = Expected(values, leaves, boundaries, rows, columns, wire);
            group.Run(end =>
            {
                LeafShare share = new(new Leaves(1, leaves), boundaries, end.Rank);
                using Matrix pieces = new(share.Pieces * rows, columns, LeafSums.Pieces(values, share)), y = new(rows, columns);
                end.SumTree(pieces.View, share, y.View);
                Assert.That(y.Floats.SequenceEqual(expected), Is.True, $"rank {end.Rank}, {leaves} leaves at {string.Join(' ', boundaries)}, {rows} x {columns}");
            });
        }
    }

    [Test]
    public void SumTree_RoundedBetweenHosts_IsNearTheExactSumAndTheSameEverywhere([ValueSource(nameof(s_wires))] WireFormat wire)
    {
        const int degree = 4, leaves = 32, rows = 3, columns = 576;
        int[] boundaries = [0, 7, 16, 20, 32];
        float[][] values = LeafSums.Random(leaves, rows * columns, 1);
        float[] exact = LeafSums.Whole(values, 0, leaves);
        float[][] sums = new float[degree][];
        using TestGroup group = TestGroup.Create("hosted", degree, s_timeout, wire);
        group.Run(end =>
        {
            LeafShare share = new(new Leaves(1, leaves), boundaries, end.Rank);
            using Matrix pieces = new(share.Pieces * rows, columns, LeafSums.Pieces(values, share)), y = new(rows, columns);
            end.SumTree(pieces.View, share, y.View);
            sums[end.Rank] = y.Floats.ToArray();
        });
        double error = exact.Zip(sums[0], (a, b) => Math.Pow(a - b, 2)).Sum() / exact.Sum(a => (double)a * a);
        Assert.That(error, Is.InRange(1e-12, 1e-3), "rounded, and no more than that");
        for (int rank = 1; rank < degree; rank++)
            Assert.That(sums[rank].SequenceEqual(sums[0]), Is.True, $"rank {rank}");
    }

    [Test]
    public void SumTree_RowsTogetherOrAlone_SameBits([ValueSource(nameof(s_wires))] WireFormat wire, [Values("local", "shm-small")] string transport)
    {
        const int leaves = 9, rows = 7, columns = 200; // a last block of 8 elements
        int[] boundaries = [0, 5, 9];
        float[][] values = LeafSums.Random(leaves, rows * columns, 3);
        using TestGroup group = TestGroup.Create(transport, 2, s_timeout, wire);
        group.Run(end =>
        {
            LeafShare share = new(new Leaves(1, leaves), boundaries, end.Rank);
            using Matrix together = new(share.Pieces * rows, columns, LeafSums.Pieces(values, share)), all = new(rows, columns), one = new(1, columns);
            end.SumTree(together.View, share, all.View);
            for (int row = 0; row < rows; row++)
            {
                float[][] ofRow = [.. values.Select(leaf => leaf[(row * columns)..((row + 1) * columns)])];
                using Matrix pieces = new(share.Pieces, columns, LeafSums.Pieces(ofRow, share));
                end.SumTree(pieces.View, share, one.View);
                Assert.That(one.Floats.SequenceEqual(all.Floats.Slice(row * columns, columns)), Is.True, $"row {row}");
            }
        });
    }

    [Test]
    public void Sent_Narrower_IsFewerBytesByTheWidth()
    {
        const int rows = 4, columns = 576;
        Assert.That(Sent(WireFormat.Float32), Is.EqualTo(rows * columns * 4));
        Assert.That(Sent(WireFormat.BFloat16), Is.EqualTo(rows * columns * 2));
        Assert.That(Sent(WireFormat.Q8), Is.EqualTo(rows * columns / 32 * 34));

        static long Sent(WireFormat wire)
        {
            using TestGroup group = TestGroup.Create("local", 2, s_timeout, wire);
            group.Run(end =>
            {
                using Matrix piece = new(rows, columns), y = new(rows, columns);
                end.SumTree(piece.View, new LeafShare(new Leaves(1, 2), [0, 1, 2], end.Rank), y.View);
            });
            return group.Ends[0].Sent.Bytes;
        }
    }

    [Test]
    public void SumTree_RanksOfUnlikeWires_FindOut()
    {
        long epoch = RingHosts.NextEpoch();
        Exception?[] faults = TestGroup.OnThreads(2, rank => RingHosts.Shared.Join(rank, 2, s_timeout, epoch, wire: s_wires[rank]).Dispose());
        Assert.That(faults, Has.Some.InstanceOf<CollectiveMismatchException>());
    }

    [Test]
    public void Operations_AfterTheFirst_AllocateNothing([ValueSource(nameof(s_wires))] WireFormat wire)
    {
        using TestGroup group = TestGroup.Create("shm", 2, s_timeout, wire);
        group.Run(end =>
        {
            LeafShare share = new(new Leaves(1, 8), [0, 3, 8], end.Rank);
            using Matrix pieces = new(share.Pieces * 2, 100), y = new(2, 100);
            for (int i = 0; i < 20; i++)
                end.SumTree(pieces.View, share, y.View);
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 20; i++)
                end.SumTree(pieces.View, share, y.View);
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        });
    }

    [TestCase(1)]
    [TestCase(31)]
    [TestCase(32)]
    [TestCase(200)]
    public unsafe void Codec_AnyNumbers_IsWhatPlainLoopsGive(int columns)
    {
        Random random = new(columns);
        float[] special = [float.NaN, float.PositiveInfinity, float.NegativeInfinity, float.MaxValue, float.Epsilon, -0f, 0f, 1e-40f, 8e6f, 9e6f, 1.00390625f, 1.01171875f];
        float[] row = new float[columns], decoded = new float[columns];
        byte[] sent = new byte[4 * columns + 64];
        for (int round = 0; round < 200; round++)
        {
            for (int i = 0; i < columns; i++)
                row[i] = round % 2 == 1 && random.Next(16) == 0
                    ? special[random.Next(special.Length)]
                    : (float)((random.NextDouble() * 2 - 1) * Math.Pow(10, random.Next(-6, 7)));
            foreach (WireFormat wire in s_wires)
            {
                fixed (float* from = row, to = decoded) // fixed for the two calls
                fixed (byte* block = sent)
                {
                    WireCodec.Encode(wire, from, columns, block);
                    WireCodec.Decode(wire, block, columns, to);
                }
                float[] expected = Rounded(row, columns, wire);
                for (int i = 0; i < columns; i++)
                    Assert.That(Bits(decoded[i]), Is.EqualTo(Bits(expected[i])), $"{wire} {row[i]:R} at {i}: {decoded[i]:R}, not {expected[i]:R}");
            }
        }

        static uint Bits(float x) => float.IsNaN(x) ? 0x7FC00000 : BitConverter.SingleToUInt32Bits(x);
    }

    /// <summary>The tree over all ranks' pieces, each as it is sent.</summary>
    private static float[] Expected(float[][] values, int leaves, int[] boundaries, int rows, int columns, WireFormat wire)
    {
        List<float[]> pieces = [];
        LeafShare? last = null;
        for (int rank = 0; rank + 1 < boundaries.Length; rank++)
        {
            last = new LeafShare(new Leaves(1, leaves), boundaries, rank);
            pieces.AddRange(Rounded(LeafSums.Pieces(values, last), columns, wire).Chunk(rows * columns));
        }
        Stack<float[]> stack = new();
        for (int piece = 0; piece < pieces.Count; piece++)
        {
            stack.Push(pieces[piece]);
            for (int merge = 0; merge < last!.FinishingMerges[piece]; merge++)
            {
                float[] right = stack.Pop(), left = stack.Pop();
                stack.Push([.. left.Zip(right, (a, b) => a + b)]);
            }
        }
        return stack.Single();
    }

    /// <summary>Rows as a reader finds them, by plain loops.</summary>
    private static float[] Rounded(float[] values, int columns, WireFormat wire)
    {
        float[] rounded = new float[values.Length];
        sbyte[] codes = new sbyte[Q8Block.Elements];
        for (int row = 0; row < values.Length; row += columns)
        {
            for (int first = row; first < row + columns; first += Q8Block.Elements)
            {
                int count = Math.Min(Q8Block.Elements, row + columns - first);
                Half scale = Q8Block.Quantize(values.AsSpan(first, count), codes);
                for (int i = 0; i < count; i++)
                    rounded[first + i] = wire == WireFormat.Q8 ? codes[i] * (float)scale : NearestUpperHalf(values[first + i]);
            }
        }
        return rounded;
    }

    /// <summary>The nearest float32 whose lower half is zero, ties to the even one.</summary>
    private static float NearestUpperHalf(float x)
    {
        if (!float.IsFinite(x))
            return x;
        uint bits = BitConverter.SingleToUInt32Bits(x), below = bits & 0xFFFF0000, rest = bits & 0xFFFF;
        bool up = rest > 0x8000 || rest == 0x8000 && (below & 0x10000) != 0;
        return BitConverter.UInt32BitsToSingle(up ? below + 0x10000 : below);
    }
}
