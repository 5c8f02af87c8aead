using NUnit.Framework;
using TpServe.Kernels.Reference;
using TpServe.Testing;

namespace TpServe.Kernels.Tests;

/// <summary>The oracle itself, against values worked out by hand and sums written out here.</summary>
public sealed class ReferenceBackendTests
{
    private readonly ReferenceBackend _ops = new();
    private readonly HostTensors _tensors = new();

    [OneTimeTearDown]
    public void Free()
    {
        _tensors.CheckGuards();
        _tensors.Dispose();
        _ops.Dispose();
    }

    [Test]
    public void Linear_TwoPartsStridedInput_MatchesFloat64()
    {
        const int n = 3, inputs = 70;
        float[] x = Numbers.Uniform(n * inputs, seed: 1), a = Numbers.Uniform(5 * inputs, seed: 2), b = Numbers.Uniform(19 * inputs, seed: 3);
        using PackedWeight first = _ops.PackWeight(new MatrixRows(a, 5, inputs), InputLeaves.Whole(inputs));
        using PackedWeight second = _ops.PackWeight(new MatrixRows(b, 19, inputs), new InputLeaves([0, 32, 64, 70], [0, 1, 1]));
        Tensor y = _tensors.Empty(n, 24, gap: 3);

        _ops.Linear(_tensors.Of(x, n, inputs, gap: 2), [first, second], y);

        float[] expected = new float[n * 24];
        for (int row = 0; row < n; row++)
            for (int o = 0; o < 24; o++)
                for (int k = 0; k < inputs; k++)
                    expected[row * 24 + o] += x[row * inputs + k] * (o < 5 ? a[o * inputs + k] : b[(o - 5) * inputs + k]);
        Assert.That(Numbers.Nmse(HostTensors.Values(y), expected), Is.LessThan(1e-12));
    }

    [Test]
    public void LinearPieces_RanksOfOneTree_AddUpToTheWholeBitForBit()
    {
        const int n = 2, inputs = 96, outputs = 21;
        float[] x = Numbers.Uniform(n * inputs, seed: 4), w = Numbers.Uniform(outputs * inputs, seed: 5);
        MatrixRows rows = new(w, outputs, inputs);
        // ((0 + 1) + 2): rank A owns leaf 0, rank B leaves 1 and 2, which are no subtree.
        using PackedWeight whole = _ops.PackWeight(rows, new InputLeaves([0, 32, 64, 96], [0, 1, 1]));
        using PackedWeight rankA = _ops.PackWeight(rows, new InputLeaves([0, 32], [0]));
        using PackedWeight rankB = _ops.PackWeight(rows, new InputLeaves([32, 64, 96], [0, 0]));
        Tensor input = _tensors.Of(x, n, inputs);
        Tensor y = _tensors.Empty(n, outputs), a = _tensors.Empty(n, outputs), b = _tensors.Empty(2 * n, outputs);

        _ops.Linear(input, [whole], y);
        _ops.LinearPieces(input.ColumnSlice(0, 32), rankA, a);
        _ops.LinearPieces(input.ColumnSlice(32, 64), rankB, b);

        float[] pieceA = HostTensors.Values(a), pieceB = HostTensors.Values(b);
        float[] merged = new float[n * outputs];
        for (int i = 0; i < merged.Length; i++)
            merged[i] = (pieceA[i] + pieceB[i]) + pieceB[merged.Length + i];
        Assert.That(HostTensors.Values(y), Is.EqualTo(merged));
    }

    [Test]
    public void Embed_TokensOfOtherRanks_AreZeroAndNoMinusZeroRemains()
    {
        using PackedWeight table = _ops.PackWeight(new MatrixRows([-0f, 1, 2, 3], 2, 2), InputLeaves.Whole(2));
        Tensor y = _tensors.Empty(3, 2);

        _ops.Embed(_tensors.Of(10, 11, 9), table, firstRow: 10, scale: 2f, y);

        Assert.That(HostTensors.Values(y).Select(BitConverter.SingleToInt32Bits), Is.EqualTo(new float[] { 0, 2, 4, 6, 0, 0 }.Select(BitConverter.SingleToInt32Bits)));
    }

    [Test]
    public void RmsNorm_ThreeFour_DividesByTheRootMeanSquare()
    {
        Tensor y = _tensors.Empty(1, 2);
        _ops.RmsNorm(_tensors.Of([3, 4], 1, 2), _tensors.Of([1, 10], 1, 2), 0, y);
        float root = MathF.Sqrt(12.5f);
        Assert.That(HostTensors.Values(y), Is.EqualTo(new[] { 3 / root, 40 / root }).Within(1).Ulps);
    }

    [Test]
    public void NormBySums_SumsOfTwoRanks_EqualsRmsNormOfTheWholeRow()
    {
        float[] x = Numbers.Uniform(2 * 12, seed: 6), w = Numbers.Uniform(12, seed: 7);
        Tensor whole = _tensors.Of(x, 2, 12), expected = _tensors.Empty(2, 12), sums = _tensors.Empty(2, 3), half = _tensors.Of(x, 2, 12);
        _ops.RmsNorm(whole, _tensors.Of(w, 1, 12), 1e-5f, expected);
        _ops.SumSquares(whole, 4, sums);

        _ops.NormBySums(half.ColumnSlice(4, 8), sums, 12, _tensors.Of(w[4..], 1, 8), 1e-5f);

        float[] actual = HostTensors.Values(half.ColumnSlice(4, 8));
        Assert.That(Numbers.Nmse(actual, HostTensors.Values(expected.ColumnSlice(4, 8))), Is.LessThan(1e-13));
        Assert.That(HostTensors.Values(half.ColumnSlice(0, 4)), Is.EqualTo(HostTensors.Values(whole.ColumnSlice(0, 4))));
    }

    [Test]
    public void Rope_QuarterTurn_SwapsTheHalvesAndLeavesTheRest()
    {
        Tensor x = _tensors.Of([1, 2, 3, 4, 5, 6], 1, 6);
        Tensor table = _tensors.Of([1, 1, 0, 0, /* position 1 */ 0, 1, 1, 0], 2, 4); // cos, cos, sin, sin
        _ops.Rope(x, _tensors.Of(1), table, 6);
        Assert.That(HostTensors.Values(x), Is.EqualTo(new float[] { -3, 2, 1, 4, 5, 6 }));
    }

    [Test]
    public void Attention_EqualScores_AveragesTheVisibleValues([Values(0, 2)] int window)
    {
        // One head of 2, blocks of 2 positions; logical block 0 lies in physical block 1 and the reverse.
        KvLayer cache = new(_tensors.Of(new float[8], 4, 2), _tensors.Of(new float[8], 4, 2), Heads: 1, BlockTokens: 2);
        Tensor k = _tensors.Of(new float[6], 3, 2), v = _tensors.Of([1, 10, 2, 20, 6, 60], 3, 2), slots = _tensors.Of(2, 3, 0);
        Tensor tables = _tensors.Empty(1, 2, ElementType.Int32), y = _tensors.Empty(3, 2);
        tables.HostSpan<int>(0)[0] = 1;
        tables.HostSpan<int>(0)[1] = 0;
        _ops.StoreKv(k, v, slots, cache);

        _ops.Attention(
            _tensors.Of(Numbers.Uniform(6, seed: 8), 3, 2), cache,
            new StepTensors(_tensors.Of(0, 0, 0), _tensors.Of(0, 1, 2), slots, _tensors.Of(0, 0, 0), tables),
            new AttentionShape(2, [0], 1f, 0f, window), y);

        float[] last = window == 0 ? [3, 30] : [4, 40];
        Assert.That(HostTensors.Values(y), Is.EqualTo(new[] { 1, 10, 1.5f, 15, last[0], last[1] }).Within(1).Ulps);
    }

    [Test]
    public void TopK_TiesNaNAndShortRows_FollowTheContract()
    {
        Tensor x = _tensors.Of([1, float.NaN, 5, 5], 1, 4), values = _tensors.Empty(1, 6), ids = _tensors.Empty(1, 6, ElementType.Int32);
        _ops.TopK(x, 6, 100, values, ids);
        Assert.That(HostTensors.Integers(ids), Is.EqualTo(new[] { 102, 103, 100, 101, -1, -1 }));
        Assert.That(HostTensors.Values(values), Is.EqualTo(new[] { 5f, 5f, 1f, float.NegativeInfinity, float.NegativeInfinity, float.NegativeInfinity }));
    }

    [Test]
    public void Activations_KnownPoints_MatchPublishedValues()
    {
        Tensor silu = _tensors.Empty(1, 2), gelu = _tensors.Empty(1, 2), x = _tensors.Of([1, -2, 1, 3], 1, 4), soft = _tensors.Of([0, 60], 1, 2);
        _ops.GatedActivation(x, Activation.Silu, silu);
        _ops.GatedActivation(x, Activation.GeluTanh, gelu);
        _ops.Softcap(soft, 30);
        Assert.That(HostTensors.Values(silu), Is.EqualTo(new[] { 0.73105858f, 3 * -0.23840584f }).Within(1e-6));
        Assert.That(HostTensors.Values(gelu), Is.EqualTo(new[] { 0.84119199f, 3 * -0.04540231f }).Within(1e-6));
        Assert.That(HostTensors.Values(soft), Is.EqualTo(new[] { 0f, 28.920828f }).Within(1e-5));
    }

    [Test]
    public void Rent_ReleasedToAMark_ReusesTheMemoryAndAllocatesNothing()
    {
        _ops.Rent(3, 5);
        long mark = _ops.Mark();
        Tensor first = _ops.Rent(100, 5000), second = _ops.Rent(1, 3, ElementType.Float16);
        _ops.Release(mark);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Tensor again = _ops.Rent(100, 5000);
        long after = GC.GetAllocatedBytesForCurrentThread();
        Assert.That((again.Buffer, again.OffsetBytes), Is.EqualTo((first.Buffer, first.OffsetBytes)));
        Assert.That(second.OffsetBytes, Is.GreaterThanOrEqualTo(first.OffsetBytes + 100 * 5000 * 4).Or.EqualTo(0));
        Assert.That(after - before, Is.Zero);
    }

    [Test]
    public void Operations_ShapesDisagree_AreRefusedNamingTheOperand()
    {
        Tensor x = _tensors.Of(new float[8], 2, 4), narrow = _tensors.Of(new float[6], 2, 3);
        using PackedWeight pieces = _ops.PackWeight(new MatrixRows(new float[8], 2, 4), new InputLeaves([0, 2, 4], [0, 0]));
        Assert.That(() => _ops.Copy(x, narrow), Throws.ArgumentException.With.Message.Contains("2 x 3"));
        Assert.That(() => _ops.RmsNorm(x, narrow.RowSlice(0, 1), 0, x), Throws.ArgumentException);
        Assert.That(() => _ops.AddRow(x, narrow), Throws.ArgumentException);
        Assert.That(() => _ops.Linear(x, [pieces], narrow), Throws.ArgumentException);
        Assert.That(() => _ops.GatherRows(x, _tensors.Of(2), x.RowSlice(0, 1)), Throws.ArgumentException);
        Assert.That(() => _ops.Upload<float>(new float[7], x), Throws.ArgumentException);
    }
}
