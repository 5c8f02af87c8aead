using System.Buffers.Binary;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cpu;

/// <summary>A matrix in memory, as a checkpoint would hand it over: random well-formed blocks, or given bytes.</summary>
internal sealed class LinearWeights(WeightFormat format, int outputs, int columns, byte[] bytes) : WeightRows
{
    public override WeightFormat Format => format;

    public override int Outputs => outputs;

    public override int FileColumns => columns;

    public override ReadOnlySpan<byte> Row(int output)
    {
        int rowBytes = (int)format.RowBytes(columns);
        return bytes.AsSpan(output * rowBytes, rowBytes);
    }

    /// <summary>Random bytes with scales that keep values near 0.05.</summary>
    public static LinearWeights Random(WeightFormat format, int outputs, int columns, int seed)
    {
        byte[] bytes = new byte[outputs * format.RowBytes(columns)];
        Random random = new(seed);
        random.NextBytes(bytes);
        if (format.BlockValues() == 1)
        {
            float[] values = Numbers.Uniform(outputs * columns, seed);
            for (int i = 0; i < values.Length; i++)
            {
                float value = values[i] * 0.1f;
                if (format == WeightFormat.F32)
                    BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(i * 4), value);
                else if (format == WeightFormat.F16)
                    BinaryPrimitives.WriteHalfLittleEndian(bytes.AsSpan(i * 2), (Half)value);
                else
                    BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(i * 2), (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16));
            }
            return new LinearWeights(format, outputs, columns, bytes);
        }
        // Where each format's block keeps d, and its minimum where it has one; the factor brings values near 0.05.
        (int d, int min, float factor) = format switch
        {
            WeightFormat.Q8_0 => (0, -1, 0.0005f),
            WeightFormat.Q4_0 => (0, -1, 0.006f),
            WeightFormat.Q4_1 => (0, 2, 0.006f),
            WeightFormat.Q5_0 => (0, -1, 0.003f),
            WeightFormat.Q5_1 => (0, 2, 0.003f),
            WeightFormat.IQ4_NL => (0, -1, 0.0005f),
            WeightFormat.Q2_K => (80, 82, 0.002f),
            WeightFormat.Q3_K => (108, -1, 0.001f),
            WeightFormat.Q4_K or WeightFormat.Q5_K => (0, 2, 0.0001f),
            _ => (208, -1, 0.00003f),
        };
        for (int block = 0; block < bytes.Length; block += format.BlockBytes())
        {
            float scale = factor * (1 + random.NextSingle());
            BinaryPrimitives.WriteHalfLittleEndian(bytes.AsSpan(block + d), (Half)(random.Next(4) == 0 ? -scale : scale));
            if (min >= 0)
                BinaryPrimitives.WriteHalfLittleEndian(bytes.AsSpan(block + min), (Half)(scale * (random.NextSingle() - 0.5f)));
        }
        return new LinearWeights(format, outputs, columns, bytes);
    }
}
