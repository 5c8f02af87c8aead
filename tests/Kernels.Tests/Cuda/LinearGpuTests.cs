using NUnit.Framework;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Kernels.Reference;
using TpServe.Kernels.Tests.Cpu;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>What only a card can show: the streaming and the tiled kernels agree to the bit at real sizes, and match exact products.</summary>
[Category("Gpu")]
public sealed class LinearGpuTests
{
    private CudaBackend _backend = null!;
    private DeviceTensors _device = null!;

    private static IEnumerable<WeightFormat> Formats => Enum.GetValues<WeightFormat>();

    /// <summary>Opens the card.</summary>
    [SetUp]
    public void Open()
    {
        if (!CudaDevices.HasGpu)
            Assert.Ignore("no NVIDIA GPU that this process can open");
        _backend = CudaDevices.Open("gpu");
        _device = new DeviceTensors(_backend);
    }

    /// <summary>Closes it.</summary>
    [TearDown]
    public void Close()
    {
        if (_backend is null)
            return;
        _device.CheckGuards();
        _device.Dispose();
        _backend.Dispose();
    }

    [TestCaseSource(nameof(Formats))]
    public void Linear_OneToManyRows_EachRowAsIfAlone(WeightFormat format)
    {
        const int columns = 1792, outputs = 1000, most = 300;
        LinearWeights weights = LinearWeights.Random(format, outputs, columns, seed: 1);
        int[] boundaries = [.. Enumerable.Range(0, 15).Select(leaf => leaf * 128)];
        foreach (InputLeaves leaves in new[] { InputLeaves.Whole(columns), LinearTree.Share(boundaries, 0, 14), LinearTree.Share(boundaries, 3, 14) })
        {
            float[] x = Numbers.Uniform(most * leaves.Columns, seed: 2);
            float[] all = LinearScene.Product(_backend, _device, weights, leaves, x, most);
            foreach ((int first, int rows) in new[] { (0, 1), (299, 1), (100, 8), (55, 9), (7, 32), (200, 70) })
            {
                float[] y = LinearScene.Product(_backend, _device, weights, leaves, x[(first * leaves.Columns)..((first + rows) * leaves.Columns)], rows);
                for (int piece = 0; piece < leaves.Pieces; piece++)
                {
                    int from = ((piece * most) + first) * outputs, own = piece * rows * outputs;
                    Assert.That(y.AsSpan(own, rows * outputs).SequenceEqual(all.AsSpan(from, rows * outputs)), Is.True, $"{rows} rows from {first}, piece {piece} of {leaves.Pieces}");
                }
            }
        }
    }

    [TestCaseSource(nameof(Formats))]
    public void Linear_RealSizes_MatchesExactProducts(WeightFormat format)
    {
        const int columns = 4096, outputs = 160;
        LinearWeights weights = LinearWeights.Random(format, outputs, columns, seed: 1);
        foreach (int rows in new[] { 1, 20, 130 })
        {
            float[] x = Numbers.Uniform(rows * columns, seed: 2);
            InputLeaves leaves = InputLeaves.Whole(columns);
            float[] expected = format switch
            {
                WeightFormat.F32 or WeightFormat.FP8 => QuantisedProducts.Rounded(weights, leaves, x, rows, value => value),
                WeightFormat.F16 => QuantisedProducts.Rounded(weights, leaves, x, rows, value => (float)(Half)value),
                WeightFormat.BF16 => QuantisedProducts.Rounded(weights, leaves, x, rows, value => FloatValues.FromBFloat16(FloatValues.ToBFloat16(value))),
                _ => QuantisedProducts.Of(weights, leaves, x, rows),
            };
            // Tensor cores align the products of a step before they add them and cut what falls below.
            Assert.That(Numbers.Nmse(LinearScene.Product(_backend, _device, weights, leaves, x, rows), expected), Is.LessThan(1e-11), $"{rows} rows");
        }
    }

    [TestCase(WeightFormat.Q4_K)]
    [TestCase(WeightFormat.Q6_K)]
    [TestCase(WeightFormat.Q4_0)]
    public void Linear_IntegerKernels_EqualTheEmulatedDevicesBits(WeightFormat format)
    {
        LinearWeights weights = LinearWeights.Random(format, 40, 768, seed: 1);
        float[] x = Numbers.Uniform(9 * 768, seed: 2);
        using CudaBackend emulated = new(CudaContext.Emulated());
        using DeviceTensors tensors = new(emulated);
        float[] expected = LinearScene.Product(emulated, tensors, weights, InputLeaves.Whole(768), x, 9);
        Assert.That(LinearScene.Product(_backend, _device, weights, InputLeaves.Whole(768), x, 9), Is.EqualTo(expected));
    }

    [Test]
    public void Linear_WeightBeyondFourGibibytes_ItsLastOutputsAreRight()
    {
        const int outputs = 540_000, columns = 4096;
        CountingRows rows = new(outputs, columns);
        using PackedWeight weight = _backend.PackWeight(rows, InputLeaves.Whole(columns));
        float[] x = new float[columns];
        x.AsSpan().Fill(1f);
        Tensor y = _device.Empty(1, outputs);
        _backend.Linear(_device.Of(x, 1, columns), [weight], y);
        float[] actual = _device.Values(y);
        for (int output = 0; output < outputs; output += 4999)
            Assert.That(actual[output], Is.EqualTo((output % 128) * columns), $"output {output}");
        Assert.That(actual[^1], Is.EqualTo(((outputs - 1) % 128) * columns));
    }

    /// <summary>bfloat16 rows that hold their number modulo 128 in every column.</summary>
    private sealed class CountingRows(int outputs, int columns) : WeightRows
    {
        private readonly byte[][] _rows = [.. Enumerable.Range(0, 128).Select(value => Enumerable.Range(0, columns).SelectMany(_ => BitConverter.GetBytes(FloatValues.ToBFloat16(value))).ToArray())];

        public override WeightFormat Format => WeightFormat.BF16;

        public override int Outputs => outputs;

        public override int FileColumns => columns;

        public override ReadOnlySpan<byte> Row(int output) => _rows[output % 128];
    }
}
