using NUnit.Framework;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Linear;
using TpServe.Kernels.Reference;
using TpServe.Kernels.Tests.Cpu;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>The tensor-core kernels' PTX, interpreted: against exact products, against each other and against the dp4a kernel, to the bit.</summary>
public sealed class LinearPtxTests
{
    private static readonly OfflineKernel Quantise = OfflineKernel.Of(typeof(PackedActivations), nameof(PackedActivations.QuantiseKernel));

    private static IEnumerable<WeightFormat> Halves => [WeightFormat.BF16, WeightFormat.F16];

    private static IEnumerable<WeightFormat> Coded => LinearWeights.Layouts.Where(format => format.BlockValues() > 1 && format != WeightFormat.FP8);

    [Test]
    public void StreamProduct_Halves_MatchesExactProducts([ValueSource(nameof(Halves))] WeightFormat format, [Values(1, 3, 9, 20, 41)] int rows)
    {
        const int columns = 301;
        LinearWeights weights = LinearWeights.Random(format, 20, columns, seed: 1);
        float[] x = Numbers.Uniform(rows * columns, seed: 2);
        using LinearInterpreter interpreter = new([weights], InputLeaves.Whole(columns));
        float[] actual = Stream(interpreter, format, x, rows);
        Assert.That(Numbers.Nmse(actual, QuantisedProducts.Rounded(weights, InputLeaves.Whole(columns), x, rows, Rounding(format))), Is.LessThan(1e-12));
    }

    [Test]
    public void StreamProduct_RoundingItself_SameBits([ValueSource(nameof(Halves))] WeightFormat format)
    {
        LinearWeights[] weights = [.. Enumerable.Range(0, 3).Select(i => LinearWeights.Random(format, 20 + i, 320, seed: i))];
        float[] x = Numbers.Uniform(3 * 320, seed: 2);
        (x[5], x[6], x[7]) = (float.PositiveInfinity, 1e6f, 1e-44f);
        using LinearInterpreter interpreter = new(weights, InputLeaves.Whole(320));
        OfflineKernel kernel = OfflineKernel.Of(typeof(StreamProduct), nameof(StreamProduct.Kernel), Math(format), typeof(OneRowTile), typeof(FloatRows));
        Assert.That(interpreter.Product(kernel, StreamProduct.GroupSize, x, 3), Is.EqualTo(Stream(interpreter, format, x, 3)));
    }

    [Test]
    public void StreamCodedProduct_ManyRows_EqualsTheEmulatedDevicesBits([Values(WeightFormat.Q4_1, WeightFormat.Q2_K)] WeightFormat format, [Values(9, 41)] int rows)
    {
        LinearWeights weights = LinearWeights.Random(format, 20, 256, seed: 1);
        float[] x = Numbers.Uniform(rows * 256, seed: 2);
        using LinearInterpreter interpreter = new([weights], InputLeaves.Whole(256), seed: rows);
        Assert.That(Stream(interpreter, format, x, rows), Is.EqualTo(Emulated(weights, InputLeaves.Whole(256), x, rows)));
    }

    [Test]
    public void StreamCodedProduct_EveryFormat_EqualsTheEmulatedDevicesBits([ValueSource(nameof(Coded))] WeightFormat format)
    {
        InputLeaves leaves = LinearTree.Share([0, 96, 192, 288, 384, 480, 512], 1, 6);
        LinearWeights weights = LinearWeights.Random(format, 20, 512, seed: 1);
        float[] x = Numbers.Uniform(3 * leaves.Columns, seed: 2);
        using LinearInterpreter interpreter = new([weights], leaves);
        Assert.That(Stream(interpreter, format, x, 3), Is.EqualTo(Emulated(weights, leaves, x, 3)));
    }

    [Test]
    public void TiledProduct_Halves_EqualsTheStreamsBits([ValueSource(nameof(Halves))] WeightFormat format)
    {
        // Two row groups and two output groups, both ragged; two groups of threads, so that one walks over two tiles; leaves that merge through memory.
        int[] boundaries = [0, 32, 64, 96, 128, 160, 170];
        const int rows = 137;
        LinearWeights weights = LinearWeights.Random(format, 140, 170, seed: 1);
        foreach (InputLeaves leaves in new[] { LinearTree.Share(boundaries, 0, 6), LinearTree.Share(boundaries, 1, 6), InputLeaves.Whole(170) })
        {
            float[] x = Numbers.Uniform(rows * leaves.Columns, seed: 2);
            using LinearInterpreter interpreter = new([weights], leaves);
            float[] tiled = Tiled(interpreter, format, x, rows);
            Assert.That(Numbers.Nmse(tiled, QuantisedProducts.Rounded(weights, leaves, x, rows, Rounding(format))), Is.LessThan(1e-12));
            for (int row = 120; row < rows; row += 8)
            {
                int count = System.Math.Min(8, rows - row);
                float[] stream = Stream(interpreter, format, x[(row * leaves.Columns)..((row + count) * leaves.Columns)], count);
                for (int piece = 0; piece < leaves.Pieces; piece++)
                    Assert.That(stream[(piece * count * 140)..((piece + 1) * count * 140)], Is.EqualTo(tiled[(((piece * rows) + row) * 140)..(((piece * rows) + row + count) * 140)]));
            }
        }
    }

    [Test]
    public void TiledProducts_ThreeWeightsInOneTile_SideBySide([Values(WeightFormat.BF16, WeightFormat.Q4_K)] WeightFormat format, [Values(1, 2)] int seed)
    {
        const int rows = 9;
        LinearWeights[] weights = [.. new[] { 20, 16, 37 }.Select((outputs, i) => LinearWeights.Random(format, outputs, 256, seed: i))];
        float[] x = Numbers.Uniform(rows * 256, seed: 2);
        using LinearInterpreter together = new(weights, InputLeaves.Whole(256), seed);
        float[] tiled = Tiled(together, format, x, rows), stream = Stream(together, format, x, rows);
        Assert.That(tiled, Is.EqualTo(stream));
        int column = 0;
        foreach (LinearWeights weight in weights)
        {
            using LinearInterpreter alone = new([weight], InputLeaves.Whole(256), seed);
            Assert.That(LinearScene.Slice(tiled, rows, 73, column, column + weight.Outputs), Is.EqualTo(Stream(alone, format, x, rows)));
            column += weight.Outputs;
        }
    }

    [Test]
    public void Products_ManyRows_TouchEverySectorOnceAndNoBankTwice([Values(WeightFormat.BF16, WeightFormat.Q4_K, WeightFormat.Q6_K)] WeightFormat format)
    {
        using LinearInterpreter interpreter = new([LinearWeights.Random(format, 128, 256, seed: 1)], InputLeaves.Whole(256));
        float[] x = Numbers.Uniform(128 * 256, seed: 2);
        Stream(interpreter, format, x[..(8 * 256)], 8);
        Assert.That(interpreter.LastRun.GlobalLoadSectors * 32, Is.LessThanOrEqualTo(interpreter.LastRun.GlobalLoadBytes));
        Assert.That(interpreter.LastRun.AverageBankConflict, Is.EqualTo(1));
        Tiled(interpreter, format, x, 128);
        Assert.That(interpreter.LastRun.GlobalLoadSectors * 32, Is.LessThanOrEqualTo(interpreter.LastRun.GlobalLoadBytes));
        Assert.That(interpreter.LastRun.AverageBankConflict, Is.EqualTo(1));
    }

    [Test]
    public void TiledCodedProduct_EveryFormat_EqualsTheEmulatedDevicesBits([ValueSource(nameof(Coded))] WeightFormat format)
    {
        InputLeaves leaves = LinearTree.Share([0, 96, 192, 288, 384, 480, 512], 1, 6);
        LinearWeights weights = LinearWeights.Random(format, 20, 512, seed: 1);
        float[] x = Numbers.Uniform(5 * leaves.Columns, seed: 2);
        using LinearInterpreter interpreter = new([weights], leaves);
        Assert.That(Tiled(interpreter, format, x, 5), Is.EqualTo(Emulated(weights, leaves, x, 5)));
    }

    internal static float[] Tiled(LinearInterpreter interpreter, WeightFormat format, float[] x, int rows) => format.BlockValues() == 1
        ? interpreter.Product(
            OfflineKernel.Of(typeof(PackedActivations), nameof(PackedActivations.RoundKernel), Math(format)), PackedActivations.HalfWords,
            OfflineKernel.Of(typeof(TiledProduct), nameof(TiledProduct.Kernel), Math(format)), TiledSums.GroupSize, _ => (2, 1), x, rows, isTiled: true)
        : interpreter.Product(
            Quantise, PackedActivations.CodedWords,
            OfflineKernel.Of(typeof(TiledCodedProduct), nameof(TiledCodedProduct.Kernel), Layout(format)), TiledSums.GroupSize, _ => (2, 1), x, rows, isTiled: true);

    internal static float[] Stream(LinearInterpreter interpreter, WeightFormat format, float[] x, int rows)
    {
        int tiles = rows <= 8 ? 1 : rows <= 16 ? 2 : 4;
        Type rowTiles = rows <= 8 ? typeof(OneRowTile) : rows <= 16 ? typeof(TwoRowTiles) : typeof(FourRowTiles);
        return format.BlockValues() == 1
            ? interpreter.Product(
                OfflineKernel.Of(typeof(PackedActivations), nameof(PackedActivations.RoundKernel), Math(format)), PackedActivations.HalfWords,
                OfflineKernel.Of(typeof(StreamProduct), nameof(StreamProduct.Kernel), Math(format), rowTiles, typeof(PackedHalves)), StreamProduct.GroupSize, shape => (shape.Tiles * StreamProduct.RowChunks(rows, tiles), 1), x, rows)
            : interpreter.Product(
                Quantise, PackedActivations.CodedWords,
                OfflineKernel.Of(typeof(StreamCodedProduct), nameof(StreamCodedProduct.Kernel), Layout(format), rowTiles), StreamCodedProduct.GroupSize, shape => (shape.Tiles * StreamProduct.RowChunks(rows, tiles), 1), x, rows);
    }

    private static float[] Emulated(LinearWeights weights, InputLeaves leaves, float[] x, int rows)
    {
        using CudaBackend backend = new(CudaContext.Emulated());
        using DeviceTensors device = new(backend);
        return LinearScene.Product(backend, device, weights, leaves, x, rows);
    }

    private static Func<float, float> Rounding(WeightFormat format) => format == WeightFormat.F16
        ? value => (float)(Half)value
        : value => FloatValues.FromBFloat16(FloatValues.ToBFloat16(value));

    private static Type Math(WeightFormat format) => format == WeightFormat.F16 ? typeof(BinaryHalfMath) : typeof(BFloatMath);

    private static Type Layout(WeightFormat format) => format switch
    {
        WeightFormat.Q4_0 => typeof(CodedLayout<OffsetNibbleCodes, HalfScales>),
        WeightFormat.IQ4_NL => typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, HalfScales>),
        WeightFormat.IQ4_XS => typeof(CodedLayout<TableNibbleCodes<NonLinear4Words>, SingleScales>),
        WeightFormat.MXFP4 => typeof(CodedLayout<TableNibbleCodes<Float4Words>, SingleScales>),
        WeightFormat.NVFP4 => typeof(CodedLayout<TableNibbleCodes<Float4Words>, HalfPairScales>),
        WeightFormat.IQ2_S => typeof(CodedLayout<TableNibbleCodes<TwoBitsWords>, EighthByteHalfScales>),
        WeightFormat.INT4_F16 => typeof(CodedLayout<ByteCodes, SingleScales>),
        WeightFormat.Q4_1 => typeof(CodedLayout<NibbleCodes, HalfScaleMinimums>),
        WeightFormat.Q4_K => typeof(CodedLayout<NibbleCodes, SixBitScaleMinimums>),
        WeightFormat.Q5_0 or WeightFormat.Q8_0 => typeof(CodedLayout<ByteCodes, HalfScales>),
        WeightFormat.Q5_1 => typeof(CodedLayout<ByteCodes, HalfScaleMinimums>),
        WeightFormat.Q5_K => typeof(CodedLayout<ByteCodes, SixBitScaleMinimums>),
        WeightFormat.Q3_K or WeightFormat.Q6_K => typeof(CodedLayout<ByteCodes, ByteHalfScales>),
        _ => typeof(CodedLayout<ByteCodes, NibbleHalfScaleMinimums>),
    };
}
