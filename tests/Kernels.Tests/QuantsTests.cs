using System.Runtime.InteropServices;
using NUnit.Framework;
using TpServe.Kernels.Reference;
using TpServe.Testing;

namespace TpServe.Kernels.Tests;

/// <summary>Every weight format against values made by the gguf package.</summary>
public sealed class QuantsTests
{
    private const int Columns = 1024;

    [Test]
    public void Row_EveryFormat_EqualsTheGoldenBitForBit([Values] WeightFormat format)
    {
        byte[] blocks = File.ReadAllBytes(TestData.Find($"quants/{format}.raw")!);
        byte[] expected = File.ReadAllBytes(TestData.Find($"quants/{format}.f32")!);
        int rowBytes = (int)format.RowBytes(Columns), rows = blocks.Length / rowBytes;
        Assert.That(rows, Is.EqualTo(4));

        float[] actual = new float[rows * Columns];
        for (int row = 0; row < rows; row++)
            Dequantize.Row(format, blocks.AsSpan(row * rowBytes, rowBytes), actual.AsSpan(row * Columns, Columns));

        Assert.That(MemoryMarshal.AsBytes(actual.AsSpan()).ToArray(), Is.EqualTo(expected));
    }

    [TestCase(WeightFormat.Q4_0, 32, 17)]
    [TestCase(WeightFormat.Q4_0, 32, 19)]
    [TestCase(WeightFormat.Q4_0, 31, 18)]
    [TestCase(WeightFormat.Q6_K, 128, 105)]
    [TestCase(WeightFormat.F16, 3, 5)]
    public void Row_BytesDoNotMatchValues_IsRefused(WeightFormat format, int values, int bytes) =>
        Assert.That(() => Dequantize.Row(format, new byte[bytes], new float[values]), Throws.ArgumentException);

    [TestCase(1.0f, (ushort)0x3F80)]
    [TestCase(1.00390625f, (ushort)0x3F80)] // exactly between two values: the even one below
    [TestCase(1.01171875f, (ushort)0x3F82)] // exactly between two values: the even one above
    [TestCase(-0.0f, (ushort)0x8000)]
    [TestCase(float.MaxValue, (ushort)0x7F80)] // rounds to infinity
    [TestCase(float.NegativeInfinity, (ushort)0xFF80)]
    public void ToBFloat16_EdgeValues_RoundToNearestEven(float value, ushort bits) =>
        Assert.That(FloatValues.ToBFloat16(value), Is.EqualTo(bits));

    [Test]
    public void ToBFloat16_NaNWithLowPayload_StaysNaN() =>
        Assert.That(FloatValues.FromBFloat16(FloatValues.ToBFloat16(BitConverter.UInt32BitsToSingle(0x7F800001))), Is.NaN);
}
