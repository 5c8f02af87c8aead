using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Ops;
using TpServe.Testing;

namespace TpServe.Kernels.Tests;

/// <summary>Operations whose rows are independent: against the oracle, and the same bits for any threads and any batching.</summary>
public sealed class OpsRowTests : OpsFixture
{
    private const int Seed = 11;

    /// <summary>Operations in place on x [n, columns], with the oracle's form of each (no threads) and the NMSE they may differ by; 0 = equal.</summary>
    private static readonly (string Name, double Bound, Action<OpsRowTests, CpuThreads?, Tensor, int[]> Run)[] Operations =
    [
        ("AddScaled", 0, (t, threads, x, rows) =>
        {
            Tensor y = t.Rows(x, rows, seed: 21);
            if (threads is null) t.Oracle.AddScaled(x, y, 0.37f); else AddScaled.Run(threads, x, y, 0.37f);
        }),
        ("AddScaledByOne", 0, (t, threads, x, rows) =>
        {
            Tensor y = t.Rows(x, rows, seed: 22);
            if (threads is null) t.Oracle.AddScaled(x, y, 1f); else AddScaled.Run(threads, x, y, 1f);
        }),
        ("AddRow", 0, (t, threads, x, _) =>
        {
            Tensor bias = t.Tensors.Of(Numbers.Uniform(x.Columns, seed: 23), 1, x.Columns);
            if (threads is null) t.Oracle.AddRow(x, bias); else AddRow.Run(threads, x, bias);
        }),
        ("Scale", 0, (t, threads, x, _) =>
        {
            if (threads is null) t.Oracle.Scale(x, -1.7f); else Scale.Run(threads, x, -1.7f);
        }),
        // Two roundings of the division and the product on top of tanh's 3e-7.
        ("Softcap", 1e-13, (t, threads, x, _) =>
        {
            if (threads is null) t.Oracle.Softcap(x, 0.7f); else Softcap.Run(threads, x, 0.7f);
        }),
        // float32 sums of at most 4097 squares in 64 chains.
        ("RmsNorm", 1e-12, (t, threads, x, _) =>
        {
            Tensor w = t.Tensors.Of(Numbers.Uniform(x.Columns, seed: 24), 1, x.Columns);
            if (threads is null) t.Oracle.RmsNorm(x, w, 1e-5f, x); else RmsNorm.Run(threads, x, w, 1e-5f, x);
        }),
        ("LayerNorm", 1e-12, (t, threads, x, _) =>
        {
            Tensor w = t.Tensors.Of(Numbers.Uniform(x.Columns, seed: 27), 1, x.Columns), b = t.Tensors.Of(Numbers.Uniform(x.Columns, seed: 28), 1, x.Columns);
            if (threads is null) t.Oracle.LayerNorm(x, w, b, 1e-5f, x); else LayerNorm.Run(threads, x, w, b, 1e-5f, x);
        }),
        ("LayerNormWithoutBias", 1e-12, (t, threads, x, _) =>
        {
            Tensor w = t.Tensors.Of(Numbers.Uniform(x.Columns, seed: 29), 1, x.Columns);
            if (threads is null) t.Oracle.LayerNorm(x, w, null, 1e-5f, x); else LayerNorm.Run(threads, x, w, null, 1e-5f, x);
        }),
        // erfc within 1.5e-7 of values near 1/2.
        ("Gelu", 1e-12, (t, threads, x, _) =>
        {
            if (threads is null) t.Oracle.Activate(x, PlainActivation.Gelu); else PlainActivations.Run(threads, x, PlainActivation.Gelu);
        }),
        ("GeluTanh", 1e-12, (t, threads, x, _) =>
        {
            if (threads is null) t.Oracle.Activate(x, PlainActivation.GeluTanh); else PlainActivations.Run(threads, x, PlainActivation.GeluTanh);
        }),
        ("NormBySums", 1e-12, (t, threads, x, rows) =>
        {
            Tensor w = t.Tensors.Of(Numbers.Uniform(x.Columns, seed: 25), 1, x.Columns);
            float[] sums = [.. rows.SelectMany(row => Numbers.Uniform(7, seed: 260 + row)).Select(MathF.Abs)];
            Tensor all = t.Tensors.Of(sums, rows.Length, 7, gap: 1);
            if (threads is null) t.Oracle.NormBySums(x, all, 7 * x.Columns, w, 1e-5f); else RmsNorm.NormBySums(threads, x, all, 7 * x.Columns, w, 1e-5f);
        }),
    ];

    private static readonly string[] Names = [.. Operations.Select(operation => operation.Name)];

    private static readonly int[] Widths = [1, 15, 16, 17, 64, 100, 127, 2048, 4097];

    [Test]
    public void InPlace_AnyWidthAndStride_MatchesTheOracle(
        [ValueSource(nameof(Names))] string name, [ValueSource(nameof(Widths))] int columns)
    {
        (_, double bound, var run) = Operations.Single(operation => operation.Name == name);
        const int n = 5;
        int[] rows = [.. Enumerable.Range(0, n)];
        float[] values = Numbers.Uniform(n * columns, Seed);
        Tensor actual = Tensors.Of(values, n, columns, gap: 3), expected = Tensors.Of(values, n, columns);

        run(this, Single, actual, rows);
        run(this, null, expected, rows);

        if (bound == 0)
            Assert.That(Bits(actual), Is.EqualTo(Bits(expected)));
        else
            Assert.That(Numbers.Nmse(HostTensors.Values(actual), HostTensors.Values(expected)), Is.LessThan(bound));
    }

    [Test]
    public void InPlace_ThreadsAndBatching_ChangeNoBit([ValueSource(nameof(Names))] string name)
    {
        (_, _, var run) = Operations.Single(operation => operation.Name == name);
        const int n = 23, columns = 4100;
        int[] rows = [.. Enumerable.Range(0, n)];
        float[] values = Numbers.Uniform(n * columns, Seed);
        Tensor whole = Tensors.Of(values, n, columns);
        run(this, Single, whole, rows);

        foreach (CpuThreads threads in Pools)
        {
            Tensor again = Tensors.Of(values, n, columns);
            run(this, threads, again, rows);
            Assert.That(Bits(again), Is.EqualTo(Bits(whole)), $"{threads.Count} threads");
        }
        foreach (int row in rows)
        {
            Tensor one = Tensors.Of(values[(row * columns)..((row + 1) * columns)], 1, columns);
            run(this, Single, one, [row]);
            Assert.That(Bits(one), Is.EqualTo(Bits(whole.RowSlice(row, 1))), $"row {row} alone");
        }
    }

    [TestCase(1, 8)]
    [TestCase(3, 64)]
    [TestCase(9, 128)]
    public void RmsNorm_GroupsOfARow_MatchTheOracle(int groups, int dim)
    {
        float[] values = Numbers.Uniform(4 * groups * dim, Seed);
        Tensor x = Tensors.Of(values, 4, groups * dim, gap: 5), w = Tensors.Of(Numbers.Uniform(dim, seed: 3), 1, dim);
        Tensor actual = Tensors.Empty(4, groups * dim, gap: 2), expected = Tensors.Empty(4, groups * dim);
        RmsNorm.Run(Single, x, w, 1e-6f, actual);
        Oracle.RmsNorm(x, w, 1e-6f, expected);
        Assert.That(Numbers.Nmse(HostTensors.Values(actual), HostTensors.Values(expected)), Is.LessThan(1e-12));
    }

    [TestCase(1, 5)]
    [TestCase(6, 64)]
    [TestCase(2, 1031)]
    public void SumSquares_GroupsOfARow_MatchTheOracleOnAnyRank(int groups, int dim)
    {
        float[] values = Numbers.Uniform(3 * groups * dim, Seed);
        Tensor x = Tensors.Of(values, 3, groups * dim, gap: 1), actual = Tensors.Empty(3, groups, gap: 4), expected = Tensors.Empty(3, groups);
        RmsNorm.SumSquares(Single, x, dim, actual);
        Oracle.SumSquares(x, dim, expected);
        Assert.That(Numbers.Nmse(HostTensors.Values(actual), HostTensors.Values(expected)), Is.LessThan(1e-13));

        Tensor last = Tensors.Empty(3, 1);
        RmsNorm.SumSquares(Single, x.ColumnSlice((groups - 1) * dim, dim), dim, last);
        Assert.That(Bits(last), Is.EqualTo(Bits(actual.ColumnSlice(groups - 1, 1))));
    }

    // sigmoid by the vector exponential (2e-7) and one division.
    [Test]
    public void GatedActivation_AnyWidth_MatchesTheOracle([Values] Activation activation, [Values(1, 16, 45, 2500)] int columns)
    {
        float[] values = [.. Numbers.Uniform(3 * 2 * columns, Seed).Select(v => 9 * v)];
        Tensor x = Tensors.Of(values, 3, 2 * columns, gap: 6), actual = Tensors.Empty(3, columns, gap: 1), expected = Tensors.Empty(3, columns);
        GatedActivation.Run(Single, x, activation, actual);
        Oracle.GatedActivation(x, activation, expected);
        Assert.That(Numbers.Nmse(HostTensors.Values(actual), HostTensors.Values(expected)), Is.LessThan(1e-13));
    }

    [Test]
    public void GatedActivation_ThreadsAndBatching_ChangeNoBit([Values] Activation activation)
    {
        const int n = 19, columns = 2049;
        Tensor x = Tensors.Of(Numbers.Uniform(n * 2 * columns, Seed), n, 2 * columns), whole = Tensors.Empty(n, columns);
        GatedActivation.Run(Single, x, activation, whole);
        foreach (CpuThreads threads in Pools)
        {
            Tensor again = Tensors.Empty(n, columns);
            GatedActivation.Run(threads, x, activation, again);
            Assert.That(Bits(again), Is.EqualTo(Bits(whole)));
        }
        Tensor one = Tensors.Empty(1, columns);
        GatedActivation.Run(Single, x.RowSlice(7, 1), activation, one);
        Assert.That(Bits(one), Is.EqualTo(Bits(whole.RowSlice(7, 1))));
    }

    [Test]
    public void GatedActivation_LargeValues_SaturateCleanly()
    {
        Tensor x = Tensors.Of([200, -200, 1e4f, -1e4f, 1, 1, 1, 1], 1, 8), silu = Tensors.Empty(1, 4), gelu = Tensors.Empty(1, 4);
        GatedActivation.Run(Single, x, Activation.Silu, silu);
        GatedActivation.Run(Single, x, Activation.GeluTanh, gelu);
        Assert.That(HostTensors.Values(silu), Is.EqualTo(new[] { 200f, 0f, 1e4f, 0f }).Within(1e-30));
        Assert.That(HostTensors.Values(gelu), Is.EqualTo(new[] { 200f, 0f, 1e4f, 0f }).Within(1e-30));
    }

    [TestCase(1, 8, 8)]
    [TestCase(2, 64, 64)]
    [TestCase(3, 80, 80)]
    [TestCase(3, 80, 32)]   // partial rotary
    [TestCase(1, 128, 96)]
    [TestCase(5, 256, 6)]   // pairs that fill no vector
    public void Rope_AnyHeadAndRotaryWidth_MatchesTheOracle(int heads, int headDim, int rotary)
    {
        const int n = 7, positions = 50;
        float[] values = Numbers.Uniform(n * heads * headDim, Seed);
        Tensor table = Tensors.Of(Numbers.Uniform(positions * rotary, seed: 5), positions, rotary), at = Tensors.Of(3, 0, 49, 7, 7, 12, 48);
        Tensor actual = Tensors.Of(values, n, heads * headDim, gap: 3), expected = Tensors.Of(values, n, heads * headDim);
        Rope.Run(Single, actual, at, table, headDim);
        Oracle.Rope(expected, at, table, headDim);
        Assert.That(Numbers.Nmse(HostTensors.Values(actual), HostTensors.Values(expected)), Is.LessThan(1e-13));

        Tensor one = Tensors.Of(values[(3 * heads * headDim)..(4 * heads * headDim)], 1, heads * headDim);
        Rope.Run(Pools[2], one, at.RowSlice(3, 1), table, headDim);
        Assert.That(Bits(one), Is.EqualTo(Bits(actual.RowSlice(3, 1))));
    }

    [Test]
    public void Rope_PositionBeyondTheTable_IsRefused() =>
        Assert.That(
            () => Rope.Run(Single, Tensors.Of(new float[8], 1, 8), Tensors.Of(4), Tensors.Of(new float[32], 4, 8), 8),
            Throws.ArgumentException.With.Message.Contains("Position 4"));

    [Test]
    public void RowCopy_StridedAndGathered_MovesWholeRows([Values(1, 17, 40000)] int columns)
    {
        const int n = 9;
        float[] values = Numbers.Uniform(n * columns, Seed);
        Tensor x = Tensors.Of(values, n, columns, gap: 3), copy = Tensors.Empty(n, columns, gap: 1), gathered = Tensors.Empty(4, columns);
        RowCopy.Copy(Pools[1], x, copy);
        RowCopy.Gather(Pools[1], x, Tensors.Of(8, 0, 3, 3), gathered);
        Assert.That(HostTensors.Values(copy), Is.EqualTo(values));
        int[] rows = [8, 0, 3, 3];
        Assert.That(HostTensors.Values(gathered), Is.EqualTo(rows.SelectMany(row => values[(row * columns)..((row + 1) * columns)])));
        Assert.That(() => RowCopy.Gather(Single, x, Tensors.Of(9), gathered.RowSlice(0, 1)), Throws.ArgumentException.With.Message.Contains("Row 9"));
    }

    /// <summary>A second operand whose row i is that of row rows[i] in any batching.</summary>
    private Tensor Rows(Tensor x, int[] rows, int seed) =>
        Tensors.Of([.. rows.SelectMany(row => Numbers.Uniform(x.Columns, seed * 1000 + row))], rows.Length, x.Columns, gap: 2);
}
