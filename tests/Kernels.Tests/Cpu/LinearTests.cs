using System.Runtime.InteropServices;
using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cpu;

/// <summary>Matrix products of every format on every path this machine has.</summary>
[TestFixtureSource(nameof(Paths))]
public sealed class LinearTests(IsaPath isa)
{
    private const float Guard = 12345.5f;

    private CpuThreads _threads = null!;

    private static IEnumerable<IsaPath> Paths => Enum.GetValues<IsaPath>().Where(path => path.IsSupported());

    private static IEnumerable<WeightFormat> Formats => Enum.GetValues<WeightFormat>();

    private static IEnumerable<TestCaseData> FormatsAndActivations =>
        from format in Formats from activations in Enum.GetValues<CpuActivations>() select new TestCaseData(format, activations);

    [OneTimeSetUp]
    public void StartThreads() => _threads = new CpuThreads(2);

    [OneTimeTearDown]
    public void StopThreads() => _threads.Dispose();

    [TestCaseSource(nameof(FormatsAndActivations))]
    public void Linear_WholeRows_EqualsContractArithmetic(WeightFormat format, CpuActivations activations)
    {
        foreach (int outputs in new[] { 16, 37, 96 })
        {
            LinearWeights weights = LinearWeights.Random(format, outputs, 512, seed: outputs);
            InputLeaves leaves = InputLeaves.Whole(512);
            float[] x = Numbers.Uniform(5 * 512, seed: 2);
            float[] y = Run(weights, leaves, x, 5, activations);
            for (int row = 0; row < 5; row++)
                Assert.That(y[(row * outputs)..((row + 1) * outputs)], Is.EqualTo(LinearOracle.Product(weights, leaves, x.AsSpan(row * 512, 512), activations)));
        }
    }

    [TestCaseSource(nameof(FormatsAndActivations))]
    public void Linear_RandomLeaves_EqualsContractArithmetic(WeightFormat format, CpuActivations activations)
    {
        foreach (int leafColumns in new[] { 8, 48, 64, 100, 256 })
        {
            int columns = 768;
            LinearWeights weights = LinearWeights.Random(format, 40, columns, seed: leafColumns);
            int[] boundaries = Boundaries(columns, leafColumns);
            InputLeaves leaves = LinearTree.Share(boundaries, 0, boundaries.Length - 1);
            float[] x = Numbers.Uniform(3 * columns, seed: 3);
            float[] y = Run(weights, leaves, x, 3, activations);
            for (int row = 0; row < 3; row++)
                Assert.That(y[(row * 40)..((row + 1) * 40)], Is.EqualTo(LinearOracle.Product(weights, leaves, x.AsSpan(row * columns, columns), activations)));
        }
    }

    [TestCaseSource(nameof(FormatsAndActivations))]
    public void Linear_AnyNumberOfRows_EachRowAsIfAlone(WeightFormat format, CpuActivations activations)
    {
        int columns = 512, outputs = 49;
        LinearWeights weights = LinearWeights.Random(format, outputs, columns, seed: 1);
        int[] boundaries = Boundaries(columns, 64);
        InputLeaves leaves = LinearTree.Share(boundaries, 0, boundaries.Length - 1);
        float[] x = Numbers.Uniform(65 * columns, seed: 2);
        float[][] alone = [.. Enumerable.Range(0, 65).Select(row => Run(weights, leaves, x[(row * columns)..((row + 1) * columns)], 1, activations))];
        foreach (int rows in new[] { 2, 3, 4, 5, 6, 7, 8, 9, 13, 17, 20, 31, 65 })
        {
            float[] y = Run(weights, leaves, x[..(rows * columns)], rows, activations);
            for (int row = 0; row < rows; row++)
                Assert.That(y[(row * outputs)..((row + 1) * outputs)], Is.EqualTo(alone[row]), $"{rows} rows, row {row}");
        }
    }

    [TestCaseSource(nameof(FormatsAndActivations))]
    public void LinearPieces_AnySplitOfTheLeaves_SumsToOneRanksBits(WeightFormat format, CpuActivations activations)
    {
        int columns = 768, outputs = 40, rows = 2;
        LinearWeights weights = LinearWeights.Random(format, outputs, columns, seed: 5);
        float[] x = Numbers.Uniform(rows * columns, seed: 6);
        foreach (int leafColumns in new[] { 8, 32, 72, 96 })
        {
            int[] boundaries = Boundaries(columns, leafColumns);
            int leaves = boundaries.Length - 1;
            float[] whole = Run(weights, LinearTree.Share(boundaries, 0, leaves), x, rows, activations);
            for (int degree = 1; degree <= 5; degree++)
            {
                Dictionary<(int, int), float[]> pieces = [];
                for (int rank = 0; rank < degree; rank++)
                {
                    int from = leaves * rank / degree, to = leaves * (rank + 1) / degree;
                    if (from == to)
                        continue;
                    float[] slice = Slice(x, rows, columns, boundaries[from], boundaries[to]);
                    float[] own = Run(weights, LinearTree.Share(boundaries, from, to), slice, rows, activations);
                    List<(int, int)> ranges = LinearTree.Pieces(leaves, from, to);
                    for (int piece = 0; piece < ranges.Count; piece++)
                        pieces[ranges[piece]] = own[(piece * rows * outputs)..((piece + 1) * rows * outputs)];
                }
                Assert.That(LinearTree.Finish(pieces, 0, leaves), Is.EqualTo(whole), $"leaves of {leafColumns}, degree {degree}");
            }
        }
    }

    [Test]
    public void LinearPieces_RankOrderSums_Differ()
    {
        // The negative control: adding whole ranks instead of subtrees gives other bits, so the equality above says something.
        int columns = 768, outputs = 40;
        LinearWeights weights = LinearWeights.Random(WeightFormat.Q8_0, outputs, columns, seed: 5);
        float[] x = Numbers.Uniform(columns, seed: 6);
        int[] boundaries = Boundaries(columns, 32);
        float[] whole = Run(weights, LinearTree.Share(boundaries, 0, 24), x, 1, CpuActivations.Auto);
        float[] left = Run(weights, InputLeaves.Whole(384), x[..384], 1, CpuActivations.Auto);
        float[] right = Run(weights, new InputLeaves([384, 768], [0]), x[384..], 1, CpuActivations.Auto);
        Assert.That(left.Zip(right, (a, b) => a + b), Is.Not.EqualTo(whole));
    }

    [Test]
    public void Linear_SeveralPartsOfDifferentFormats_SideBySide([Values(1, 4, 19)] int rows)
    {
        int columns = 512;
        LinearWeights[] weights = [.. new[] { WeightFormat.Q4_K, WeightFormat.Q4_1, WeightFormat.Q6_K, WeightFormat.Q4_K, WeightFormat.F32 }
            .Select((format, i) => LinearWeights.Random(format, 24 + (8 * i), columns, seed: i))];
        InputLeaves leaves = InputLeaves.Whole(columns);
        float[] x = Numbers.Uniform(rows * columns, seed: 8);
        using CpuLinear linear = new(_threads, isa, CpuActivations.Auto);
        CpuPackedWeight[] parts = [.. weights.Select(weight => linear.Pack(weight, leaves))];
        int outputs = parts.Sum(part => part.Outputs);
        using HostBuffer xs = Copy(x);
        using HostBuffer ys = new(rows * outputs * sizeof(float));
        Tensor y = new(ys, 0, rows, outputs, outputs, ElementType.Float32);
        linear.Linear(new Tensor(xs, 0, rows, columns, columns, ElementType.Float32), parts, y);
        for (int row = 0; row < rows; row++)
        {
            float[] expected = [.. weights.SelectMany(weight => LinearOracle.Product(weight, leaves, x.AsSpan(row * columns, columns), CpuActivations.Auto))];
            Assert.That(y.HostSpan<float>(row).ToArray(), Is.EqualTo(expected));
        }
        foreach (CpuPackedWeight part in parts)
            part.Dispose();
    }

    [Test]
    public void Linear_PartsWithoutOutputs_AreSkipped()
    {
        // A rank may own no head of a layer, and still multiply the rest.
        using CpuLinear linear = new(_threads, isa, CpuActivations.Auto);
        LinearWeights some = LinearWeights.Random(WeightFormat.Q8_0, 20, 64, seed: 1);
        using CpuPackedWeight none = linear.Pack(new LinearWeights(WeightFormat.Q8_0, 0, 64, []), InputLeaves.Whole(64));
        using CpuPackedWeight weight = linear.Pack(some, InputLeaves.Whole(64));
        float[] x = Numbers.Uniform(64, seed: 2);
        using HostBuffer xs = Copy(x);
        using HostBuffer ys = new(20 * 4);
        Tensor input = new(xs, 0, 1, 64, 64, ElementType.Float32), y = new(ys, 0, 1, 20, 20, ElementType.Float32);
        linear.Linear(input, [none, weight, none], y);
        Assert.That(y.HostSpan<float>(0).ToArray(), Is.EqualTo(LinearOracle.Product(some, InputLeaves.Whole(64), x, CpuActivations.Auto)));
        linear.Linear(input, [none], y.ColumnSlice(0, 0));
        linear.Linear(input.RowSlice(0, 0), [weight], y.RowSlice(0, 0));
    }

    [TestCaseSource(nameof(Formats))]
    public void Linear_AnyNumberOfThreads_SameBits(WeightFormat format)
    {
        LinearWeights weights = LinearWeights.Random(format, 333, 512, seed: 1);
        float[] x = Numbers.Uniform(9 * 512, seed: 2);
        float[] two = Run(weights, InputLeaves.Whole(512), x, 9, CpuActivations.Auto);
        foreach (int count in new[] { 1, 3 })
        {
            using CpuThreads threads = new(count);
            Assert.That(Run(weights, InputLeaves.Whole(512), x, 9, CpuActivations.Auto, threads), Is.EqualTo(two));
        }
    }

    [TestCase(WeightFormat.F32, 1)]
    [TestCase(WeightFormat.F16, 33)]
    [TestCase(WeightFormat.BF16, 77)]
    public void Linear_FloatWeightsOfAnyWidth_EqualsContractArithmetic(WeightFormat format, int columns)
    {
        LinearWeights weights = LinearWeights.Random(format, 35, columns, seed: 1);
        float[] x = Numbers.Uniform(columns, seed: 2);
        Assert.That(Run(weights, InputLeaves.Whole(columns), x, 1, CpuActivations.Auto), Is.EqualTo(LinearOracle.Product(weights, InputLeaves.Whole(columns), x, CpuActivations.Auto)));
    }

    [TestCaseSource(nameof(Formats))]
    public void Linear_AgainstExactWeights_WithinTheFormatsNoise(WeightFormat format)
    {
        int columns = 1024, outputs = 64;
        LinearWeights weights = LinearWeights.Random(format, outputs, columns, seed: 3);
        float[] x = Numbers.Uniform(columns, seed: 4);
        float[] exact = new float[outputs];
        for (int output = 0; output < outputs; output++)
            exact[output] = (float)LinearOracle.Values(weights, output).Zip(x, (w, v) => (double)w * v).Sum();
        // int8 activations: 2.4e-5 to 3.0e-5 measured on uniform inputs; bf16: 2.7e-6; float32: 2e-13.
        double bound = format is WeightFormat.F32 or WeightFormat.F16 ? 1e-11 : format == WeightFormat.BF16 ? 2e-5 : 1e-4;
        Assert.That(Numbers.Nmse(Run(weights, InputLeaves.Whole(columns), x, 1, CpuActivations.Auto), exact), Is.LessThan(bound));
        Assert.That(Numbers.Nmse(Run(weights, InputLeaves.Whole(columns), x, 1, CpuActivations.Float32), exact), Is.LessThan(1e-11));
    }

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    public void Linear_InputNotFinite_OutputNotFinite(float bad)
    {
        float[] x = Numbers.Uniform(512, seed: 2);
        x[100] = bad;
        foreach (WeightFormat format in Formats)
        {
            LinearWeights weights = LinearWeights.Random(format, 16, 512, seed: 1);
            Assert.That(Run(weights, InputLeaves.Whole(512), x, 1, CpuActivations.Auto).Any(float.IsFinite), Is.False, $"{format}");
        }
    }

    [TestCase(0f)]
    [TestCase(1e-38f)]
    [TestCase(1e-44f)]
    public void Linear_VanishingInput_FiniteAndTiny(float magnitude)
    {
        float[] x = [.. Numbers.Uniform(512, seed: 2).Select(value => value * magnitude)];
        foreach (WeightFormat format in Formats)
        {
            LinearWeights weights = LinearWeights.Random(format, 16, 512, seed: 1);
            Assert.That(Run(weights, InputLeaves.Whole(512), x, 1, CpuActivations.Auto).All(value => MathF.Abs(value) < 1e-36f), Is.True, $"{format}");
        }
    }

    [Test]
    public void Linear_BFloatsOfAnyMagnitude_EqualsPlainLoops()
    {
        // Exponents far enough apart that products, sums and inputs go subnormal; none overflows.
        int columns = 512, outputs = 64;
        Random random = new(7);
        byte[] bytes = new byte[outputs * columns * 2];
        for (int i = 0; i < bytes.Length; i += 2)
            BitConverter.TryWriteBytes(bytes.AsSpan(i), (ushort)((random.Next(2) << 15) | (random.Next(0, 90) << 7) | random.Next(128)));
        float[] x = [.. Enumerable.Range(0, 3 * columns).Select(_ => BitConverter.UInt32BitsToSingle(
            ((uint)random.Next(2) << 31) | ((uint)random.Next(0, 130) << 23) | (uint)random.Next(1 << 23)))];
        LinearWeights weights = new(WeightFormat.BF16, outputs, columns, bytes);
        float[] actual = Run(weights, InputLeaves.Whole(columns), x, 3, CpuActivations.Auto);
        float[] expected = new LinearTests(IsaPath.Scalar) { _threads = _threads }.Run(weights, InputLeaves.Whole(columns), x, 3, CpuActivations.Auto);
        Assert.That(actual.Select(BitConverter.SingleToInt32Bits), Is.EqualTo(expected.Select(BitConverter.SingleToInt32Bits)));
    }

    /// <summary>2^-126 − c · 2^-151: what is below 2^-126 after rounding as if exponents had no bound is zero, not what rounds to a subnormal.</summary>
    [TestCase(1f, 1.17549435e-38f)]
    [TestCase(1.5f, 0f)]
    [TestCase(2f, 0f)]
    public void Linear_BFloatsBelowTheSmallestNormal_AreFlushedAsTheHardwareDoes(float c, float expected)
    {
        byte[] bytes = new byte[32 * 32 * 2];
        float[] x = new float[32];
        (x[1], x[0]) = (MathF.ScaleB(1, -63), -MathF.ScaleB(1, -75)); // the odd input comes first
        for (int output = 0; output < 32; output++)
        {
            BitConverter.TryWriteBytes(bytes.AsSpan((output * 64) + 2), (ushort)(BitConverter.SingleToUInt32Bits(MathF.ScaleB(1, -63)) >> 16));
            BitConverter.TryWriteBytes(bytes.AsSpan(output * 64), (ushort)(BitConverter.SingleToUInt32Bits(MathF.ScaleB(c, -76)) >> 16));
        }
        Assert.That(Run(new LinearWeights(WeightFormat.BF16, 32, 32, bytes), InputLeaves.Whole(32), x, 1, CpuActivations.Auto), Is.All.EqualTo(expected));
    }

    [TestCaseSource(nameof(FormatsAndActivations))]
    public void Linear_AnyBlockBytes_EqualsPlainLoops(WeightFormat format, CpuActivations activations)
    {
        // Every scale, code and sign pattern, also those no quantiser writes; scales that are not finite are left out.
        int columns = 512, outputs = 64;
        Random random = new(9);
        byte[] bytes = new byte[outputs * format.RowBytes(columns)];
        random.NextBytes(bytes);
        int word = format == WeightFormat.F32 ? 4 : 2;
        for (int i = word - 1; i < bytes.Length; i += word)
            bytes[i] &= 0xBF; // halves below 2
        for (int block = 0; format.BlockBytes() % 2 != 0 && block < bytes.Length; block += format.BlockBytes())
        {
            bytes[block] &= 0x7F; // exponents below 128
            if (format == WeightFormat.MXFP4)
                continue;
            bytes[block + 1] &= 0xBF;
            bytes[block + 2] &= 0x1F; // zeros as large as codes
        }
        LinearWeights weights = new(format, outputs, columns, bytes);
        float[] x = Numbers.Uniform(5 * columns, seed: 2);
        float[] expected = new LinearTests(IsaPath.Scalar) { _threads = _threads }.Run(weights, InputLeaves.Whole(columns), x, 5, activations);
        Assert.That(Run(weights, InputLeaves.Whole(columns), x, 5, activations), Is.EqualTo(expected));
        Assert.That(expected.All(float.IsFinite), Is.True);
    }

    [Test]
    public void Linear_AfterWarmUp_AllocatesNothing()
    {
        using CpuLinear linear = new(_threads, isa, CpuActivations.Auto);
        using CpuPackedWeight weight = linear.Pack(LinearWeights.Random(WeightFormat.Q4_1, 64, 512, seed: 1), InputLeaves.Whole(512));
        using HostBuffer xs = new(4 * 512 * 4);
        using HostBuffer ys = new(4 * 64 * 4);
        Tensor x = new(xs, 0, 4, 512, 512, ElementType.Float32), y = new(ys, 0, 4, 64, 64, ElementType.Float32);
        PackedWeight[] parts = [weight];
        linear.Linear(x, parts, y);
        long before = GC.GetAllocatedBytesForCurrentThread();
        linear.Linear(x, parts, y);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    [Test]
    public void Linear_ShapesDisagree_Throws()
    {
        using CpuLinear linear = new(_threads, isa, CpuActivations.Auto);
        using CpuPackedWeight weight = linear.Pack(LinearWeights.Random(WeightFormat.Q8_0, 64, 512, seed: 1), InputLeaves.Whole(512));
        using HostBuffer memory = new(1 << 16);
        Tensor x = new(memory, 0, 2, 512, 512, ElementType.Float32), narrow = new(memory, 0, 2, 256, 256, ElementType.Float32), y = new(memory, 0, 2, 63, 63, ElementType.Float32);
        Assert.That(() => linear.Linear(x, [weight], y), Throws.ArgumentException);
        Assert.That(() => linear.Linear(narrow, [weight], y), Throws.ArgumentException);
        Assert.That(() => linear.Pieces(x, weight, y), Throws.ArgumentException);
        Assert.That(() => linear.Pack(LinearWeights.Random(WeightFormat.Q8_0, 64, 512, seed: 1), new InputLeaves([256, 544], [0])), Throws.ArgumentException);
    }

    /// <summary>Packs and multiplies, with strided input and output between guard cells; [pieces · rows, outputs].</summary>
    private float[] Run(LinearWeights weights, InputLeaves leaves, float[] x, int rows, CpuActivations activations, CpuThreads? threads = null)
    {
        using CpuLinear linear = new(threads ?? _threads, isa, activations);
        using CpuPackedWeight weight = linear.Pack(weights, leaves);
        int columns = leaves.Columns, outputs = weights.Outputs, xStride = columns + 3;
        int yRows = rows * leaves.Pieces, yStride = leaves.Pieces == 1 ? outputs + 5 : outputs;
        using HostBuffer xs = new(rows * xStride * sizeof(float));
        using HostBuffer ys = new(((yRows + 2) * yStride) * sizeof(float));
        Tensor all = new(ys, 0, yRows + 2, yStride, yStride, ElementType.Float32);
        for (int row = 0; row < yRows + 2; row++)
            all.HostSpan<float>(row).Fill(Guard);
        Tensor xt = new(xs, 0, rows, columns, xStride, ElementType.Float32);
        for (int row = 0; row < rows; row++)
            x.AsSpan(row * columns, columns).CopyTo(xt.HostSpan<float>(row));
        Tensor y = all.RowSlice(1, yRows).ColumnSlice(0, outputs);
        if (leaves.Pieces == 1)
            linear.Linear(xt, [weight], y);
        else
            linear.Pieces(xt, weight, y);
        float[] result = new float[yRows * outputs];
        for (int row = 0; row < yRows; row++)
            y.HostSpan<float>(row).CopyTo(result.AsSpan(row * outputs));
        Assert.That(all.HostSpan<float>(0).ToArray(), Is.All.EqualTo(Guard));
        Assert.That(all.HostSpan<float>(yRows + 1).ToArray(), Is.All.EqualTo(Guard));
        for (int row = 1; row <= yRows; row++)
            Assert.That(all.HostSpan<float>(row)[outputs..].ToArray(), Is.All.EqualTo(Guard));
        return result;
    }

    private static int[] Boundaries(int columns, int leafColumns) =>
        [.. Enumerable.Range(0, (columns + leafColumns - 1) / leafColumns).Select(leaf => leaf * leafColumns), columns];

    private static float[] Slice(float[] x, int rows, int columns, int from, int to) =>
        [.. Enumerable.Range(0, rows).SelectMany(row => x[((row * columns) + from)..((row * columns) + to)])];

    private static HostBuffer Copy(float[] values)
    {
        HostBuffer buffer = new(values.Length * sizeof(float));
        values.CopyTo(new Tensor(buffer, 0, 1, values.Length, values.Length, ElementType.Float32).HostSpan<float>(0));
        return buffer;
    }
}
