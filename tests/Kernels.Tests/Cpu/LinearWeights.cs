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

    /// <summary>Formats of which no two have one layout on every device: what slow tests go through.</summary>
    public static IEnumerable<WeightFormat> Layouts => Enum.GetValues<WeightFormat>().Where(format => format is not (
        WeightFormat.IQ1_S or WeightFormat.IQ1_M or WeightFormat.IQ2_XXS or WeightFormat.IQ2_XS or WeightFormat.IQ3_XXS or WeightFormat.IQ3_S or WeightFormat.TQ1_0 or WeightFormat.TQ2_0
        or WeightFormat.Q1_0 or WeightFormat.Q2_0 or WeightFormat.Q8_K or WeightFormat.INT4_BF16 or WeightFormat.INT8));

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
            WeightFormat.IQ1_S or WeightFormat.IQ2_XXS or WeightFormat.IQ2_XS or WeightFormat.IQ2_S => (0, -1, 0.001f),
            WeightFormat.IQ3_XXS or WeightFormat.IQ3_S => (0, -1, 0.0003f),
            WeightFormat.IQ4_XS => (0, -1, 0.00003f),
            WeightFormat.TQ1_0 => (52, -1, 0.05f),
            WeightFormat.TQ2_0 => (64, -1, 0.05f),
            WeightFormat.Q1_0 or WeightFormat.Q2_0 => (0, -1, 0.05f),
            WeightFormat.INT4_F16 => (0, -1, 0.006f),
            WeightFormat.IQ1_M or WeightFormat.MXFP4 or WeightFormat.NVFP4 or WeightFormat.Q8_K or WeightFormat.INT4_BF16 or WeightFormat.INT8 or WeightFormat.FP8 => (-1, -1, 0.0005f),
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
            if (d < 0 || format == WeightFormat.INT4_F16)
                OtherScale(format, bytes.AsSpan(block), scale, random);
            if (d >= 0)
                BinaryPrimitives.WriteHalfLittleEndian(bytes.AsSpan(block + d), (Half)(random.Next(4) == 0 ? -scale : scale));
            if (min >= 0)
                BinaryPrimitives.WriteHalfLittleEndian(bytes.AsSpan(block + min), (Half)(scale * (random.NextSingle() - 0.5f)));
        }
        return new LinearWeights(format, outputs, columns, bytes);
    }

    // Scales that are no binary16 of their own, and zeros.
    private static void OtherScale(WeightFormat format, Span<byte> block, float scale, Random random)
    {
        switch (format)
        {
            case WeightFormat.IQ1_M:
                ushort bits = BitConverter.HalfToUInt16Bits((Half)scale);
                for (int word = 0; word < 4; word++)
                    block[49 + (2 * word)] = (byte)((block[49 + (2 * word)] & 15) | (bits >> (4 * word) & 15) << 4);
                break;
            case WeightFormat.MXFP4:
                block[0] = (byte)random.Next(118, 125);
                break;
            case WeightFormat.NVFP4:
                for (int i = 0; i < 4; i++)
                    block[i] = (byte)random.Next(0, 0x20);
                break;
            case WeightFormat.INT4_F16:
                block[2] = (byte)random.Next(17);
                break;
            case WeightFormat.INT4_BF16:
                BinaryPrimitives.WriteUInt16LittleEndian(block, (ushort)(BitConverter.SingleToUInt32Bits(10 * scale) >> 16));
                block[2] = (byte)random.Next(17);
                break;
            default:
                BinaryPrimitives.WriteSingleLittleEndian(block, scale);
                break;
        }
    }
}
