using NUnit.Framework;
using TpServe.Kernels.Cuda.Attention;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>The attention kernels in a PTX interpreter, which finds races and stray accesses: against the oracle, and the same bits in decode, in prefill, in any company and for any cut.</summary>
public sealed class AttentionInterpretedTests
{
    // Weights are rounded to the cache's type, relative 2^-11 and 2^-8 at most: squared and averaged about 2e-8 and 1e-6; headroom for cancellation.
    private const double HalfBound = 5e-7, BFloatBound = 3e-5;
    private const int All = int.MaxValue;

    [TestCase(16, 1, 1, 16, ElementType.Float16)]
    [TestCase(64, 2, 3, 16, ElementType.Float16)]
    [TestCase(80, 1, 4, 16, ElementType.BFloat16)]
    [TestCase(96, 1, 8, 32, ElementType.Float16)]
    [TestCase(128, 1, 4, 16, ElementType.BFloat16)]
    [TestCase(256, 1, 1, 16, ElementType.Float16)]
    public void Decode_HeadSizesAndGroups_MatchTheOracle(int headDim, int kvHeads, int group, int blockTokens, ElementType type)
    {
        using AttentionOnPtx scene = new(new(headDim, kvHeads, group) { BlockTokens = blockTokens, Type = type }, seed: 1, 3, headDim + 21);
        (int, int)[] rows = [(0, 2), (1, headDim + 20), (1, headDim - 1), (1, headDim)];
        Assert.That(Numbers.Nmse(scene.Run(1, All, TakenRows.All, rows), scene.Oracle(rows)), Is.LessThan(Bound(type)));
    }

    [Test]
    public void Decode_WindowsAndCaps_MatchTheOracle([Values(0, 1, 20, 64)] int window, [Values(0f, 2f)] float softcap, [Values(ElementType.Float16, ElementType.BFloat16)] ElementType type)
    {
        using AttentionOnPtx scene = new(new(32, 1, 2) { Window = window, Softcap = softcap, Type = type }, seed: 2, 1, 17, 100);
        (int, int)[] rows = [(0, 0), (1, 16), (2, 31), (2, 32), (2, 99)];
        Assert.That(Numbers.Nmse(scene.Run(1, All, TakenRows.All, rows), scene.Oracle(rows)), Is.LessThan(Bound(type)));
    }

    [TestCase(new[] { 0, 0, 1, 1, 1 }, 6)]                             // the uneven share of a rank
    [TestCase(new[] { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, 5)]       // eleven heads of one KV head: two pieces
    public void Prefill_MapsOfHeads_MatchTheOracle(int[] map, int rowsOfGroup)
    {
        using AttentionOnPtx scene = new(new(32, 2, 0) { KvHeadOfHead = map }, seed: 3, 40);
        (int, int)[] rows = scene.Everything()[20..];
        Assert.That(Numbers.Nmse(scene.Run(rowsOfGroup, All, TakenRows.All, rows), scene.Oracle(rows)), Is.LessThan(HalfBound));
    }

    [TestCase(64, 1, 3, 16, 0, 10, ElementType.Float16)]
    [TestCase(32, 2, 4, 32, 40, 8, ElementType.BFloat16)]
    [TestCase(80, 1, 1, 16, 0, 32, ElementType.Float16)]
    [TestCase(128, 1, 4, 16, 100, 8, ElementType.BFloat16)]
    public void Prefill_AnyCompanyAndCut_HasTheBitsOfDecode(int headDim, int kvHeads, int group, int blockTokens, int window, int rowsOfGroup, ElementType type)
    {
        using AttentionOnPtx scene = new(
            new(headDim, kvHeads, group) { BlockTokens = blockTokens, Window = window, Softcap = window == 40 ? 5 : 0, Type = type }, seed: 4, headDim + 30, 1, 37);
        (int, int)[] all = scene.Everything();
        float[] whole = scene.Run(rowsOfGroup, All, TakenRows.All, all);
        Assert.That(Numbers.Nmse(whole, scene.Oracle(all)), Is.LessThan(Bound(type)));

        // One row at a time, and one row with its chunks spread over groups.
        (int, int)[] few = [(0, 0), (0, headDim - 1), (0, headDim), (0, headDim + 29), (1, 0), (2, 36)];
        Assert.That(scene.BitsOf(scene.Run(1, All, TakenRows.All, few), few, few), Is.EqualTo(scene.BitsOf(whole, all, few)));
        Assert.That(scene.BitsOf(scene.Run(1, 1, TakenRows.All, few), few, few), Is.EqualTo(scene.BitsOf(whole, all, few)));

        // Some rows of one sequence, with their chunks spread over groups.
        (int, int)[] part = [.. all.Where(row => row.Item1 == 0 && row.Item2 > headDim - 5)];
        Assert.That(scene.BitsOf(scene.Run(rowsOfGroup, 1, TakenRows.All, part), part, part), Is.EqualTo(scene.BitsOf(whole, all, part)));

        // A mixed step: rows that stand alone by one launch, uneven parts of sequences by another.
        (int, int)[] mixed = [(1, 0), .. all.Where(row => row.Item1 == 0 && row.Item2 % 7 is 2 or 3 or 5), (2, 36)];
        Assert.That(scene.BitsOf(scene.Run(rowsOfGroup, All, TakenRows.Alone, mixed), mixed, mixed), Is.EqualTo(scene.BitsOf(whole, all, mixed)));
    }

    [Test]
    public void Attention_WhereBlocksLieAndInWhichOrderWarpsRun_ChangesNoBit()
    {
        AttentionSettings settings = new(48, 1, 2);
        (int, int)[] rows = [(0, 15), (0, 79), (1, 39)];
        int[][] bits = [.. new[] { (16, 1), (16, 2), (32, 3), (128, 4) }.Select(blocks =>
        {
            using AttentionOnPtx scene = new(settings with { BlockTokens = blocks.Item1, BlockSeed = blocks.Item2 }, seed: blocks.Item2, 80, 40);
            return scene.BitsOf(scene.Run(1, All, TakenRows.All, rows), rows, rows);
        })];
        foreach (int[] other in bits[1..])
            Assert.That(other, Is.EqualTo(bits[0]));
    }

    [TestCase(0, float.NaN)]
    [TestCase(5, float.NaN)]
    [TestCase(0, float.PositiveInfinity)]
    public void Prefill_InvalidValueInAPositionNotSeen_DoesNotReachTheRow(int window, float value)
    {
        // The first group has all rows of the first sequence and then some of the second.
        using AttentionOnPtx scene = new(new(32, 1, 1) { Window = window }, seed: 5, 27, 30);
        (int, int)[] all = scene.Everything();
        float[] clean = scene.Run(32, All, TakenRows.All, all);
        scene.StoreOne(sequence: 0, position: 20, value);
        float[] actual = scene.Run(32, All, TakenRows.All, all);
        for (int position = 0; position < 27; position++)
        {
            bool sees = position >= 20 && (window == 0 || position < 20 + window);
            if (!sees)
                Assert.That(scene.BitsOf(actual, all, (0, position)), Is.EqualTo(scene.BitsOf(clean, all, (0, position))), $"position {position}");
            else if (float.IsNaN(value))
                Assert.That(actual[position * 32], Is.NaN, $"position {position}");
        }
        (int, int)[] few = [(0, 19), (0, 20), (0, 22), (0, 26), (1, 3), (1, 29)];
        Assert.That(scene.BitsOf(scene.Run(1, All, TakenRows.All, few), few, few), Is.EqualTo(scene.BitsOf(actual, all, few)));
    }

    [Test]
    public void Prefill_RowsBeyondTheTables_SeeNothing()
    {
        using AttentionOnPtx scene = new(new(32, 1, 2), seed: 6, 20);
        (int, int)[] rows = [(0, 500), (7, 0), (0, 19), (0, -1)];
        float[] y = scene.Run(16, All, TakenRows.All, rows);
        Assert.That(y.Where((_, i) => i / scene.Columns != 2), Is.All.Zero);
        Assert.That(scene.BitsOf(y, rows, (0, 19)), Is.EqualTo(scene.BitsOf(scene.Run(1, All, TakenRows.All, (0, 19)), [(0, 19)], (0, 19))));
    }

    [Test]
    public void Decode_KeysAndValues_AreReadOnceInWholeSectors()
    {
        using AttentionOnPtx scene = new(new(128, 1, 4), seed: 7, 256);
        scene.Run(1, All, TakenRows.All, (0, 255));
        long bytes = scene.LastRun!.Sites.Where(site => site.Text.Contains("ld.global.v4", StringComparison.Ordinal)).Sum(site => site.Bytes);
        long sectors = scene.LastRun.Sites.Where(site => site.Text.Contains("ld.global.v4", StringComparison.Ordinal)).Sum(site => site.Sectors);
        Assert.That(bytes, Is.EqualTo(2 * 256 * 128 * 2));
        Assert.That(sectors * 32, Is.EqualTo(bytes));
        Assert.That(scene.LastRun.MmaInstructions, Is.EqualTo(2 * 256 / 16 * 128 / 16));
    }

    [Test]
    public void Plain_AnyCut_HasNoRaceAndTheSameBits([Values(0, 40)] int window)
    {
        using AttentionOnPtx scene = new(new(16, 2, 2) { Window = window, Type = ElementType.BFloat16 }, seed: 8, 70, 1);
        (int, int)[] rows = [(0, 0), (0, 63), (0, 64), (0, 69), (1, 0)];
        float[] whole = scene.RunPlain(32, All, rows);
        Assert.That(Numbers.Nmse(whole, scene.Oracle(ElementType.Float32, rows)), Is.LessThan(1e-11));
        Assert.That(scene.BitsOf(scene.RunPlain(3, All, rows), rows, rows), Is.EqualTo(scene.BitsOf(whole, rows, rows)));
        Assert.That(scene.BitsOf(scene.RunPlain(1, 1, rows), rows, rows), Is.EqualTo(scene.BitsOf(whole, rows, rows)));
    }

    private static double Bound(ElementType type) => type == ElementType.Float16 ? HalfBound : BFloatBound;
}
