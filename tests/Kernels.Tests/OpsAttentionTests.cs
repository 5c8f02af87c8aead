using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Ops;
using TpServe.Testing;

namespace TpServe.Kernels.Tests;

/// <summary>Paged attention against the float64 oracle, and the same bits for any threads, batching and block size.</summary>
public sealed class OpsAttentionTests : OpsFixture
{
    // float32 chains over headDim and over positions against float64 of the same rounded cache: about 1e-14 seen, headroom for cancellation.
    private const double Bound = 1e-12;

    [Test]
    public void Attention_HeadSizesAndGroups_MatchTheOracle(
        [Values(8, 16, 64, 80, 128, 256)] int headDim, [Values(1, 2, 3)] int kvHeads, [Values(1, 3, 4)] int group)
    {
        using AttentionScene scene = new(new(headDim, kvHeads, group), [1, 15, 33, 100]);
        Assert.That(Numbers.Nmse(scene.Run(Single, scene.Everything()), scene.RunOracle()), Is.LessThan(Bound));
    }

    [Test]
    public void Attention_HeadSizesAndGroupsOfQ8_MatchTheOracle(
        [Values(32, 64, 96, 128, 256)] int headDim, [Values(1, 3)] int kvHeads, [Values(1, 2, 3, 4)] int group, [Values(16, 12)] int blockTokens)
    {
        using AttentionScene scene = new(new(headDim, kvHeads, group) { Type = ElementType.Q8, BlockTokens = blockTokens }, [1, 15, 33, 100]);
        Assert.That(Numbers.Nmse(scene.Run(Single, scene.Everything()), scene.RunOracle()), Is.LessThan(Bound));
    }

    [Test]
    public void Attention_ContextsAndBlockSizes_MatchTheOracle([Values(1, 15, 16, 17, 63, 64, 65, 100, 700)] int context, [Values(4, 16, 24, 32)] int blockTokens)
    {
        using AttentionScene scene = new(new(64, 2, 3) { BlockTokens = blockTokens }, [context]);
        Assert.That(Numbers.Nmse(scene.Run(Single, scene.Everything()), scene.RunOracle()), Is.LessThan(Bound));
    }

    [Test]
    public void Attention_WindowsCapsAndTypes_MatchTheOracle(
        [Values(0, 1, 3, 16, 64, 100)] int window, [Values(0f, 2f)] float softcap, [Values(ElementType.Float32, ElementType.Float16, ElementType.BFloat16, ElementType.Q8)] ElementType type)
    {
        using AttentionScene scene = new(new(64, 1, 2) { Window = window, Softcap = softcap, Type = type }, [1, 17, 200]);
        Assert.That(Numbers.Nmse(scene.Run(Single, scene.Everything()), scene.RunOracle()), Is.LessThan(Bound));
    }

    [TestCase(0)]
    [TestCase(5)]
    [TestCase(700)]
    public void Attention_Sinks_MatchTheOracleOnAnyThreadsAndBatch(int window)
    {
        using AttentionScene scene = new(new(32, 2, 2) { Window = window, Sinks = true }, [1, 17, 1100]);
        List<(int Sequence, int Position)> all = scene.Everything(), some = [.. all.Where(row => row.Position is 0 or 16 or 511 or 512 or 1099)];
        float[] whole = scene.Run(Single, all);
        Assert.That(Numbers.Nmse(whole, scene.RunOracle()), Is.LessThan(Bound));
        const int Columns = 4 * 32;
        float[] expected = [.. some.SelectMany(row => whole[(all.IndexOf(row) * Columns)..((all.IndexOf(row) + 1) * Columns)])];
        foreach (CpuThreads threads in Pools)
            Assert.That(Bits(scene.Run(threads, some)), Is.EqualTo(Bits(expected)), $"{threads.Count} threads");
    }

    [TestCase(64, 3, 3, 16, 0)]
    [TestCase(64, 8, 4, 16, 0)]
    [TestCase(128, 2, 1, 32, 40)]
    [TestCase(80, 2, 2, 16, 0)]
    [TestCase(64, 1, 7, 8, 33)]
    [TestCase(64, 2, 1, 16, 2)]
    [TestCase(64, 3, 3, 16, 0, ElementType.Q8)]
    [TestCase(96, 2, 4, 32, 40, ElementType.Q8)]
    [TestCase(32, 1, 7, 8, 33, ElementType.Q8)]
    public void Attention_ThreadsAndBatching_ChangeNoBit(int headDim, int kvHeads, int group, int blockTokens, int window, ElementType type = ElementType.Float16)
    {
        using AttentionScene scene = new(new(headDim, kvHeads, group) { Type = type, BlockTokens = blockTokens, Window = window, Softcap = window == 33 ? 5 : 0 }, [130, 1, 70, 300]);
        List<(int Sequence, int Position)> all = scene.Everything();
        float[] whole = scene.Run(Single, all);
        foreach (CpuThreads threads in Pools)
            Assert.That(Bits(scene.Run(threads, all)), Is.EqualTo(Bits(whole)), $"{threads.Count} threads");

        // One row at a time, as decode has it; then uneven chunks of every sequence side by side.
        int columns = kvHeads * group * headDim;
        for (int i = 0; i < all.Count; i++)
            Assert.That(Bits(scene.Run(Single, [all[i]])), Is.EqualTo(Bits(whole[(i * columns)..((i + 1) * columns)])), $"row {all[i]} alone");
        List<(int Sequence, int Position)> some = [.. all.Where(row => row.Position % 7 is 2 or 3 or 5)];
        float[] expected = [.. some.SelectMany(row => whole[(all.IndexOf(row) * columns)..((all.IndexOf(row) + 1) * columns)])];
        Assert.That(Bits(scene.Run(Pools[1], some)), Is.EqualTo(Bits(expected)));
    }

    /// <summary>Rows that see several segments, which few rows have walked by several threads.</summary>
    [TestCase(16, 0, ElementType.Float16)]
    [TestCase(16, 700, ElementType.Float16)]
    [TestCase(4, 0, ElementType.Float32)]
    [TestCase(16, 0, ElementType.Q8)]
    public void Attention_SegmentsOfALongPast_AreJoinedAlikeByAnyThreadsAndBatch(int blockTokens, int window, ElementType type)
    {
        using AttentionScene scene = new(new(32, 2, 2) { Type = type, BlockTokens = blockTokens, Window = window }, [1100, 520]);
        List<(int Sequence, int Position)> all = scene.Everything(), some = [.. all.Where(row => row.Position is 0 or 400 or 511 or 512 or 513 or 519 or 1023 or 1024 or 1099)];
        const int Columns = 4 * 32;
        float[] whole = scene.Run(Single, all), expected = [.. some.SelectMany(row => whole.AsSpan(all.IndexOf(row) * Columns, Columns).ToArray())];
        Assert.That(Numbers.Nmse(whole, scene.RunOracle()), Is.LessThan(Bound));
        foreach (CpuThreads threads in Pools)
        {
            Assert.That(Bits(scene.Run(threads, some)), Is.EqualTo(Bits(expected)), $"{threads.Count} threads");
            for (int i = 0; i < some.Count; i++)
                Assert.That(Bits(scene.Run(threads, [some[i]])), Is.EqualTo(Bits(expected[(i * Columns)..((i + 1) * Columns)])), $"row {some[i]} alone on {threads.Count} threads");
        }
    }

    [Test]
    public void Attention_WhereBlocksLie_ChangesNoBit([Values(ElementType.Float16, ElementType.Q8)] ElementType type)
    {
        AttentionSettings settings = new(64, 2, 2) { Type = type };
        using AttentionScene first = new(settings with { BlockTokens = 16, BlockSeed = 1 }, [150, 40]);
        using AttentionScene moved = new(settings with { BlockTokens = 16, BlockSeed = 2 }, [150, 40]);
        using AttentionScene small = new(settings with { BlockTokens = 4, BlockSeed = 3 }, [150, 40]);
        using AttentionScene large = new(settings with { BlockTokens = 128, BlockSeed = 4 }, [150, 40]);
        int[] bits = Bits(first.Run(Single, first.Everything()));
        foreach (AttentionScene other in new[] { moved, small, large })
            Assert.That(Bits(other.Run(Single, other.Everything())), Is.EqualTo(bits));
    }

    [Test]
    public void Attention_InvalidValueInAPositionNotSeen_DoesNotReachTheRow(
        [Values(0, 5)] int window, [Values(ElementType.Float32, ElementType.Q8)] ElementType type, [Values(float.NaN, float.PositiveInfinity)] float invalid)
    {
        using AttentionScene scene = new(new(64, 1, 1) { Window = window, Type = type }, [40]);
        float[] clean = scene.Run(Single, scene.Everything());
        scene.StoreOne(sequence: 0, position: 20, value: invalid);
        float[] actual = scene.Run(Single, scene.Everything());
        for (int position = 0; position < 40; position++)
        {
            bool sees = position >= 20 && (window == 0 || position < 20 + window);
            int[] row = Bits(actual[(position * 64)..((position + 1) * 64)]);
            if (sees)
                Assert.That(actual[position * 64], Is.NaN, $"position {position}");
            else
                Assert.That(row, Is.EqualTo(Bits(clean[(position * 64)..((position + 1) * 64)])), $"position {position}");
        }
    }

    [Test]
    public void Attention_UnevenHeadsOfARank_FollowTheMap()
    {
        // A rank that owns query heads 4..8 of 9 with three to a KV head: two of the second KV head, three of the third.
        using AttentionScene scene = new(new(64, 2, 0) { KvHeadOfHead = [0, 0, 1, 1, 1] }, [50]);
        Assert.That(Numbers.Nmse(scene.Run(Single, scene.Everything()), scene.RunOracle()), Is.LessThan(Bound));
    }

    [Test]
    public void Attention_AfterWarmUp_AllocatesNothing()
    {
        using AttentionScene scene = new(new(64, 2, 4), [90, 20]);
        Assert.That(scene.AllocatedBytes(Single, scene.Everything()), Is.Zero);
    }

    [Test]
    public void Attention_TableOrPositionOutOfRange_IsRefused()
    {
        using AttentionScene scene = new(new(64, 1, 1), [20]);
        Assert.That(() => scene.Run(Single, [(0, 500)]), Throws.ArgumentException.With.Message.Contains("Position 500"));
        Assert.That(() => scene.Run(Single, [(0, 40)]), Throws.ArgumentException.With.Message.Contains("Block -1"));
        Assert.That(() => scene.Run(Single, [(1, 0)]), Throws.ArgumentException.With.Message.Contains("sequence 1"));
    }

    [Test]
    public void StoreKv_EveryHalf_RoundTripsAndRoundsToNearestEven()
    {
        List<float> wrong = [];
        for (int bits = 0; bits < 0x10000; bits++)
        {
            Half half = BitConverter.UInt16BitsToHalf((ushort)bits);
            if (Half.IsNaN(half))
                continue;
            float value = (float)half, next = (float)Half.BitIncrement(half);
            float[] inputs = [value, float.BitIncrement(value), float.BitDecrement(value), (value + next) / 2, MathF.BitIncrement((value + next) / 2)];
            foreach (float input in inputs)
                if (float.IsFinite(input) && AttentionScene.RoundTrip<Float16Element>(input) != (float)(Half)input)
                    wrong.Add(input);
        }
        Assert.That(wrong, Is.Empty);
    }

    [Test]
    public void StoreKv_BFloat16_RoundsLikeTheOracle()
    {
        float[] special = [0f, -0f, 1.00390625f, 1.01171875f, float.MaxValue, float.NegativeInfinity, float.NaN, float.Epsilon, 3.1415927f];
        foreach (float input in special.Concat(Numbers.Uniform(2000, seed: 5)))
            Assert.That(AttentionScene.RoundTrip<BFloat16Element>(input), Is.EqualTo(Reference.FloatValues.FromBFloat16(Reference.FloatValues.ToBFloat16(input))));
    }

    [Test]
    public void StoreKv_Q8_RoundsAsItIsDefined([Values(16, 5)] int blockTokens)
    {
        const int headDim = 96;
        using AttentionScene scene = new(new(headDim, 2, 1) { Type = ElementType.Q8, BlockTokens = blockTokens }, [40]);
        Random random = new(6);
        for (int i = 0; i < 300; i++)
        {
            // Magnitudes from far below the smallest scale to beyond the largest, blocks of different ones side by side.
            float[] head = [.. Enumerable.Range(0, headDim).Select(d => (random.NextSingle() - 0.5f) * MathF.ScaleB(1, ((i * 7 + d / 32 * 19) % 60) - 32))];
            if (i % 3 == 0) // quotients that end in a half
                for (int d = 0; d < headDim; d++)
                    head[d] = MathF.ScaleB(d % 32 == 0 ? 127 : random.Next(-254, 255) / 2f, -i % 14);
            if (i % 10 == 1)
                head[random.Next(headDim)] = i % 20 == 1 ? float.NaN : float.NegativeInfinity;
            scene.StoreOne(0, position: i % 40, head);
            (float[] keys, float[] values, float[] expected) = scene.ReadQ8(0, i % 40, head: i % 2);
            Assert.That(Bits(keys), Is.EqualTo(Bits(expected)), $"keys {i}");
            Assert.That(Bits(values), Is.EqualTo(Bits(expected)), $"values {i}");
        }
    }

    [TestCase(1f, 1f)]
    [TestCase(0f, 0f)]
    [TestCase(3.7e-6f, 0f)]                    // the scale rounds to zero
    [TestCase(8.3e6f, 8.3e6f)]                 // the largest scale but a few
    [TestCase(8.4e6f, float.NaN)]              // beyond binary16
    [TestCase(float.NaN, float.NaN)]
    [TestCase(float.PositiveInfinity, float.NaN)]
    public void Q8Block_LargestElement_ComesBackAsItself(float largest, float expected)
    {
        float[] block = [.. Enumerable.Range(0, Q8Block.Elements).Select(i => i == 5 ? -largest : 0f)];
        sbyte[] codes = new sbyte[Q8Block.Elements];
        float scale = (float)Q8Block.Quantize(block, codes), back = scale * codes[5], other = scale * codes[6];
        Assert.That(back, float.IsNaN(expected) ? Is.NaN : Is.EqualTo(-expected).Within(0.05).Percent);
        Assert.That(other, float.IsNaN(expected) ? Is.NaN : Is.Zero, "what stands beside a number that is not finite is none either");
    }

    [Test]
    public void Q8Block_AnyBlock_ErrsByHalfAStepAtMost()
    {
        for (int seed = 0; seed < 200; seed++)
        {
            float[] block = [.. Numbers.Uniform(Q8Block.Elements, seed).Select(x => x * MathF.ScaleB(1, seed % 20 - 8))];
            sbyte[] codes = new sbyte[Q8Block.Elements];
            float scale = (float)Q8Block.Quantize(block, codes), largest = block.Max(Math.Abs);
            // Half a step, and at the ends what a scale of 11 bits cuts off: 127 · 2^-11 of a step.
            for (int i = 0; i < block.Length; i++)
                Assert.That(Math.Abs(block[i] - scale * codes[i]), Is.LessThan(0.51f * largest / 127), $"block {seed}, element {i}");
        }
    }

    [Test]
    public void Cache_OfQ8WithHeadsThatAreNoBlocks_IsRefused() =>
        Assert.That(() => ElementType.Q8.KvColumns(80), Throws.ArgumentException.With.Message.Contains("80").And.Message.Contains("32"));

    [Test]
    public void StoreKv_SlotBeyondTheCache_IsRefused()
    {
        KvLayer cache = new(Tensors.Empty(32, 16, ElementType.Float16), Tensors.Empty(32, 16, ElementType.Float16), 1, 16);
        Tensor k = Tensors.Of(new float[16], 1, 16);
        Assert.That(() => StoreKv.Run(Single, k, k, Tensors.Of(32), cache), Throws.ArgumentException.With.Message.Contains("Slot 32"));
        Assert.That(() => StoreKv.Run(Single, k, k, Tensors.Of(-1), cache), Throws.ArgumentException);
    }
}
