using NUnit.Framework;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Attention;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Paged attention on the device against the float64 oracle, and the same bits for any batching, cut and block size.</summary>
[TestFixtureSource(typeof(CudaDevices), nameof(CudaDevices.All))]
public sealed class AttentionKernelsTests(string device) : CudaFixture(device, CudaActivations.Float32)
{
    // float32 chains and an exp2 of two units in the last place against float64 of the same rounded cache: about 1e-13 seen, headroom for cancellation.
    private const double Bound = 1e-11;

    [TestCase(8, 1, 1, 16)]
    [TestCase(64, 2, 3, 16)]
    [TestCase(80, 3, 1, 24)]
    [TestCase(96, 1, 4, 4)]
    [TestCase(128, 1, 2, 32)]
    [TestCase(256, 1, 1, 16)]
    [TestCase(37, 2, 2, 5)]
    public void Attention_HeadSizesGroupsAndBlocks_MatchTheOracle(int headDim, int kvHeads, int group, int blockTokens)
    {
        AttentionOnDevice scene = Scene(new(headDim, kvHeads, group) { BlockTokens = blockTokens }, 3, 33, 66);
        (int, int)[] rows = [(0, 0), (0, 2), (1, 14), (1, 32), (2, 63), (2, 64), (2, 65)];
        Assert.That(Numbers.Nmse(scene.Run(rows), scene.Oracle(rows)), Is.LessThan(Bound));
    }

    [Test]
    public void Attention_WindowsCapsAndTypes_MatchTheOracle(
        [Values(0, 1, 20, 64)] int window, [Values(0f, 2f)] float softcap, [Values(ElementType.Float32, ElementType.Float16, ElementType.BFloat16)] ElementType type)
    {
        AttentionOnDevice scene = Scene(new(16, 1, 2) { Window = window, Softcap = softcap, Type = type }, 1, 17, 140);
        (int, int)[] rows = [(0, 0), (1, 16), (2, 63), (2, 64), (2, 127), (2, 139)];
        Assert.That(Numbers.Nmse(scene.Run(rows), scene.Oracle(rows)), Is.LessThan(Bound));
    }

    [Test]
    public void Attention_UnevenHeadsOfARank_FollowTheMap()
    {
        // A rank that owns query heads 4..8 of 9 with three to a KV head: two of the second KV head, three of the third.
        AttentionOnDevice scene = Scene(new(16, 2, 0) { KvHeadOfHead = [0, 0, 1, 1, 1] }, 20);
        Assert.That(Numbers.Nmse(scene.Run(scene.Everything()), scene.Oracle(scene.Everything())), Is.LessThan(Bound));
    }

    [TestCase(16, 3, 3, 16, 0)]
    [TestCase(20, 2, 1, 7, 40)]
    public void Attention_BatchingAndCut_ChangeNoBit(int headDim, int kvHeads, int group, int blockTokens, int window)
    {
        AttentionOnDevice scene = Scene(new(headDim, kvHeads, group) { BlockTokens = blockTokens, Window = window, Softcap = window == 40 ? 5 : 0 }, 130, 1, 70);
        (int, int)[] all = scene.Everything();
        float[] whole = scene.Run(all);

        // One row at a time, as decode has it; then uneven parts of every sequence side by side.
        foreach ((int, int) one in new[] { (0, 0), (0, 63), (0, 64), (0, 129), (1, 0), (2, 69) })
            Assert.That(scene.BitsOf(scene.Run(one), [one], one), Is.EqualTo(scene.BitsOf(whole, all, one)), $"row {one} alone");
        (int, int)[] some = [.. all.Where(row => row.Item2 % 7 is 2 or 3 or 5)];
        Assert.That(scene.BitsOf(scene.Run(some), some, some), Is.EqualTo(scene.BitsOf(whole, all, some)));

        // Chunks spread over groups, whose partial results are merged by a second launch.
        using ScratchArena scratch = new(Backend.Queue.Allocate);
        using AttentionKernels spread = new(Backend.Queue, scratch, CudaActivations.Float32) { ChunksOfGroup = 1 };
        (int, int)[] few = [(0, 64), (0, 129), (1, 0), (2, 69)];
        Assert.That(scene.BitsOf(scene.RunBy(spread.Attention, few), few, few), Is.EqualTo(scene.BitsOf(whole, all, few)));
    }

    [Test]
    public void Attention_WhereBlocksLie_ChangesNoBit()
    {
        AttentionSettings settings = new(16, 1, 2);
        (int, int)[] rows = [(0, 15), (0, 99), (1, 39)];
        int[][] bits = [.. new[] { (16, 1), (16, 2), (4, 3), (128, 4) }.Select(blocks =>
        {
            AttentionOnDevice scene = Scene(settings with { BlockTokens = blocks.Item1, BlockSeed = blocks.Item2 }, 100, 40);
            return scene.BitsOf(scene.Run(rows), rows, rows);
        })];
        foreach (int[] other in bits[1..])
            Assert.That(other, Is.EqualTo(bits[0]));
    }

    [Test]
    public void Attention_InvalidValueInAPositionNotSeen_DoesNotReachTheRow([Values(0, 5)] int window)
    {
        AttentionOnDevice scene = Scene(new(8, 1, 1) { Window = window, Type = ElementType.Float32 }, 40);
        (int, int)[] all = scene.Everything();
        float[] clean = scene.Run(all);
        scene.StoreOne(sequence: 0, position: 20, value: float.NaN);
        float[] actual = scene.Run(all);
        for (int position = 0; position < 40; position++)
        {
            bool sees = position >= 20 && (window == 0 || position < 20 + window);
            if (sees)
                Assert.That(actual[position * 8], Is.NaN, $"position {position}");
            else
                Assert.That(scene.BitsOf(actual, all, (0, position)), Is.EqualTo(scene.BitsOf(clean, all, (0, position))), $"position {position}");
        }
    }

    [Test]
    public void Attention_RowsBeyondTheTables_SeeNothing()
    {
        AttentionOnDevice scene = Scene(new(16, 1, 2), 20);
        float[] y = scene.Run((0, 500), (7, 0), (0, 19), (0, -1));
        Assert.That(y.Where((_, i) => i / scene.Columns != 2), Is.All.Zero);
        Assert.That(scene.BitsOf(y, [(0, 500), (7, 0), (0, 19), (0, -1)], (0, 19)), Is.EqualTo(scene.BitsOf(scene.Run((0, 19)), [(0, 19)], (0, 19))));
    }

    [Test]
    public void Attention_WrongShapes_AreRefused()
    {
        AttentionOnDevice scene = Scene(new(16, 1, 2), 20);
        Tensor q = Device.Empty(1, 32), y = Device.Empty(1, 32);
        Assert.That(() => Backend.Attention(Device.Empty(1, 31), scene.Cache, scene.Step((0, 1)), scene.Shape, y), Throws.ArgumentException.With.Message.Contains("1 x 32"));
        Assert.That(() => Backend.Attention(q, scene.Cache, scene.Step((0, 1), (0, 2)), scene.Shape, y), Throws.ArgumentException.With.Message.Contains("Positions"));
        Assert.That(() => Backend.Attention(q, scene.Cache, scene.Step((0, 1)), scene.Shape with { KvHeadOfHead = [0, 1] }, y), Throws.ArgumentException.With.Message.Contains("KV head 1 of 1"));
    }

    private AttentionOnDevice Scene(AttentionSettings settings, params int[] lengths) => new(Backend, Oracle, Device, Host, settings, lengths);
}
