using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Packing;
using TpServe.Kernels.Reference;

namespace TpServe.Kernels.Tests.Cpu;

/// <summary>The contract's arithmetic for one output of one row, straight from the file's bytes: no panels, no tiles.</summary>
internal static unsafe class LinearOracle
{
    public static float[] Product(LinearWeights weights, InputLeaves leaves, ReadOnlySpan<float> x, CpuActivations activations)
    {
        float[] sums = new float[weights.Outputs];
        Span<float> stack = stackalloc float[leaves.Count];
        for (int output = 0; output < sums.Length; output++)
        {
            int depth = 0;
            for (int leaf = 0; leaf < leaves.Count; leaf++)
            {
                float sum = 0;
                int from = leaves.Boundaries[leaf], to = leaves.Boundaries[leaf + 1];
                for (int block = from / 32; block * 32 < to; block++)
                {
                    float[] inputs = new float[32];
                    for (int column = Math.Max(from, block * 32); column < Math.Min(to, block * 32 + 32); column++)
                        inputs[column - block * 32] = x[column - leaves.Boundaries[0]];
                    sum = Block(weights, output, block, inputs, activations, sum);
                }
                stack[depth++] = sum;
                for (int merge = 0; merge < leaves.Merges[leaf]; merge++, depth--)
                    stack[depth - 2] += stack[depth - 1];
            }
            sums[output] = stack[0];
        }
        return sums;
    }

    /// <summary>The exact weights of a row.</summary>
    public static float[] Values(LinearWeights weights, int output)
    {
        float[] values = new float[weights.FileColumns];
        for (int block = 0; block * 32 < values.Length; block++)
            BlockValues(weights, output, block).AsSpan(0, Math.Min(32, values.Length - block * 32)).CopyTo(values.AsSpan(block * 32));
        return values;
    }

    private static float[] BlockValues(LinearWeights weights, int output, int block)
    {
        float[] values = new float[32];
        ReadOnlySpan<byte> row = weights.Row(output);
        if (weights.Format.BlockValues() == 1)
        {
            for (int i = 0; i < 32 && block * 32 + i < weights.FileColumns; i++)
            {
                int at = block * 32 + i;
                values[i] = weights.Format switch
                {
                    WeightFormat.F32 => BitConverter.ToSingle(row[(at * 4)..]),
                    WeightFormat.F16 => (float)BitConverter.ToHalf(row[(at * 2)..]),
                    _ => BitConverter.UInt32BitsToSingle((uint)BitConverter.ToUInt16(row[(at * 2)..]) << 16),
                };
            }
            return values;
        }
        if (weights.Format == WeightFormat.FP8)
        {
            for (int i = 0; i < 32; i++)
                values[i] = BitConverter.ToSingle(row[(block * 36)..]) * FloatValues.E4M3(row[(block * 36) + 4 + i]);
            return values;
        }
        Read(weights, output, block, out int[] codes, out float[] scales, out float[] minima);
        for (int i = 0; i < 32; i++)
            values[i] = (scales[i / 16] * codes[i]) + minima[i / 16];
        return values;
    }

    /// <summary>Signed codes (bias removed), and scale and added minimum of each half.</summary>
    private static void Read(LinearWeights weights, int output, int block, out int[] codes, out float[] scales, out float[] minima)
    {
        GgmlBlock source = default;
        source.Read(weights.Format, weights.Row(output), block);
        (int bias, bool isK, bool halves, bool hasMin) = weights.Format switch
        {
            WeightFormat.Q8_0 => (128, false, false, false),
            WeightFormat.Q4_0 => (8, false, false, false),
            WeightFormat.Q5_0 => (16, false, false, false),
            WeightFormat.Q4_1 or WeightFormat.Q5_1 => (0, false, false, true),
            WeightFormat.Q4_K or WeightFormat.Q5_K => (0, true, false, true),
            WeightFormat.Q2_K => (0, true, true, true),
            WeightFormat.Q3_K => (4, true, true, false),
            WeightFormat.Q6_K => (32, true, true, false),
            WeightFormat.IQ1_M or WeightFormat.IQ2_XS or WeightFormat.IQ2_S => (0, true, true, false),
            WeightFormat.IQ1_S or WeightFormat.IQ2_XXS or WeightFormat.IQ3_XXS or WeightFormat.IQ3_S or WeightFormat.IQ4_XS => (0, true, false, false),
            WeightFormat.TQ1_0 or WeightFormat.TQ2_0 or WeightFormat.Q1_0 or WeightFormat.Q2_0 => (1, false, false, false),
            WeightFormat.Q8_K or WeightFormat.INT8 => (128, false, false, false),
            _ => (0, false, false, false),
        };
        codes = new int[32];
        for (int i = 0; i < 32; i++)
            codes[i] = Table(weights.Format) is { } table ? table[source.Codes[i]] : source.Codes[i] - bias;
        float d = (float)BitConverter.UInt16BitsToHalf(source.D), m = hasMin ? (float)BitConverter.UInt16BitsToHalf(source.DMin) : 0;
        scales = [isK ? d * source.Scale0 : d, !isK ? d : d * (halves ? source.Scale1 : source.Scale0)];
        minima = [isK ? -(m * source.Min0) : m, !isK ? m : -(m * (halves ? source.Min1 : source.Min0))];
        float power = weights.Format switch
        {
            WeightFormat.IQ1_S or WeightFormat.IQ1_M or WeightFormat.IQ2_XXS or WeightFormat.IQ2_XS or WeightFormat.IQ2_S => 0.125f,
            WeightFormat.IQ3_XXS => 0.25f,
            _ => 1f,
        };
        scales = weights.Format switch
        {
            WeightFormat.MXFP4 => [MathF.ScaleB(1f, source.Scale0 - 128), MathF.ScaleB(1f, source.Scale0 - 128)],
            WeightFormat.NVFP4 => [FloatValues.E4M3((byte)source.Scale0) / 2, FloatValues.E4M3((byte)source.Scale1) / 2],
            WeightFormat.Q8_K or WeightFormat.INT8 => [BitConverter.UInt32BitsToSingle(source.Single), BitConverter.UInt32BitsToSingle(source.Single)],
            WeightFormat.INT4_BF16 => [FloatValues.FromBFloat16(source.D), FloatValues.FromBFloat16(source.D)],
            _ => [scales[0] * power, scales[1] * power],
        };
        if (weights.Format is WeightFormat.INT4_F16 or WeightFormat.INT4_BF16)
            minima = [-(scales[0] * source.Min0), -(scales[0] * source.Min0)];
    }

    private static sbyte[]? Table(WeightFormat format) => format switch
    {
        WeightFormat.IQ4_NL or WeightFormat.IQ4_XS => NibbleTables.NonLinear4,
        WeightFormat.MXFP4 or WeightFormat.NVFP4 => NibbleTables.Float4,
        WeightFormat.IQ2_XXS or WeightFormat.IQ2_XS or WeightFormat.IQ2_S => NibbleTables.TwoBits,
        WeightFormat.IQ3_XXS => NibbleTables.ThreeBits,
        WeightFormat.IQ3_S => NibbleTables.Odd,
        WeightFormat.IQ1_S or WeightFormat.IQ1_M => NibbleTables.Shifted,
        _ => null,
    };

    private static float Block(LinearWeights weights, int output, int block, float[] x, CpuActivations activations, float sum)
    {
        if (activations == CpuActivations.Float32 || weights.Format is WeightFormat.F32 or WeightFormat.F16 or WeightFormat.FP8)
        {
            float[] values = BlockValues(weights, output, block);
            for (int k = 0; k < 32; k++)
                sum = MathF.FusedMultiplyAdd(values[k], x[k], sum);
            return sum;
        }
        if (weights.Format == WeightFormat.BF16)
        {
            // Products of two bfloat16 are exact in float32 here (no test value is near the subnormals), so a plain sum rounds as the fused one.
            float[] values = BlockValues(weights, output, block);
            for (int k = 0; k < 32; k += 2)
            {
                sum += values[k + 1] * ToBFloat(x[k + 1]);
                sum += values[k] * ToBFloat(x[k]);
            }
            return sum;
        }
        Read(weights, output, block, out int[] codes, out float[] scales, out float[] minima);
        float amax = x.Max(MathF.Abs), scale = amax / 127f, inverse = amax > 0 ? 127f / amax : 0;
        int[] a = [.. x.Select(value => (int)MathF.Round(value * inverse, MidpointRounding.ToEven))];
        int dot0 = 0, dot1 = 0;
        for (int k = 0; k < 16; k++)
        {
            dot0 += codes[k] * a[k];
            dot1 += codes[k + 16] * a[k + 16];
        }
        int sum0 = a[..16].Sum(), sum1 = a[16..].Sum();
        if (weights.Format is WeightFormat.Q6_K or WeightFormat.Q3_K or WeightFormat.Q2_K or WeightFormat.NVFP4 or WeightFormat.IQ1_M or WeightFormat.IQ2_XS or WeightFormat.IQ2_S)
        {
            float halves = MathF.FusedMultiplyAdd(dot1, scales[1], dot0 * scales[0]);
            sum = MathF.FusedMultiplyAdd(halves, scale, sum);
            if (weights.Format != WeightFormat.Q2_K)
                return sum;
            sum = MathF.FusedMultiplyAdd(minima[0], scale * sum0, sum);
            return MathF.FusedMultiplyAdd(minima[1], scale * sum1, sum);
        }
        sum = MathF.FusedMultiplyAdd(dot0 + dot1, scales[0] * scale, sum);
        return weights.Format is WeightFormat.Q4_1 or WeightFormat.Q5_1 or WeightFormat.Q4_K or WeightFormat.Q5_K or WeightFormat.INT4_F16 or WeightFormat.INT4_BF16
            ? MathF.FusedMultiplyAdd(minima[0], scale * (sum0 + sum1), sum) : sum;
    }

    private static float ToBFloat(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000);
    }
}
