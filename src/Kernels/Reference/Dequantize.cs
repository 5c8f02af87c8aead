namespace TpServe.Kernels.Reference;

/// <summary>Exact values of a file's weight blocks in float32.</summary>
/// <remarks>
/// Numerics every value is made by the same float32 multiplications and additions, each rounded, as in GGML: no fused operation.
/// Source   ggml-quants.c of llama.cpp describes the block layouts.
/// Oracle   golden set quants/: equal bit for bit.
/// </remarks>
public static class Dequantize
{
    /// <summary>Decodes whole blocks: values.Length values from <paramref name="blocks"/>.</summary>
    /// <exception cref="ArgumentException">The bytes are not exactly the blocks of that many values.</exception>
    public static void Row(WeightFormat format, ReadOnlySpan<byte> blocks, Span<float> values)
    {
        int blockValues = format.BlockValues();
        if (values.Length % blockValues != 0 || blocks.Length != format.RowBytes(values.Length))
            throw new ArgumentException($"{blocks.Length} bytes are not {values.Length} values of {format} ({blockValues} values in {format.BlockBytes()} bytes).");
        switch (format)
        {
            case WeightFormat.F32: FloatValues.Float32(blocks, values); break;
            case WeightFormat.F16: FloatValues.Float16(blocks, values); break;
            case WeightFormat.BF16: FloatValues.BFloat16(blocks, values); break;
            case WeightFormat.Q4_0: Blocks32.Q4_0(blocks, values); break;
            case WeightFormat.Q4_1: Blocks32.Q4_1(blocks, values); break;
            case WeightFormat.Q5_0: Blocks32.Q5_0(blocks, values); break;
            case WeightFormat.Q5_1: Blocks32.Q5_1(blocks, values); break;
            case WeightFormat.Q8_0: Blocks32.Q8_0(blocks, values); break;
            case WeightFormat.IQ4_NL: Blocks32.Iq4Nl(blocks, values); break;
            case WeightFormat.Q2_K: BlocksK.Q2(blocks, values); break;
            case WeightFormat.Q3_K: BlocksK.Q3(blocks, values); break;
            case WeightFormat.Q4_K: BlocksK.Q4(blocks, values); break;
            case WeightFormat.Q5_K: BlocksK.Q5(blocks, values); break;
            case WeightFormat.Q6_K: BlocksK.Q6(blocks, values); break;
            case WeightFormat.Q8_K: BlocksK.Q8(blocks, values); break;
            case WeightFormat.IQ4_XS: BlocksIq.Iq4Xs(blocks, values); break;
            case WeightFormat.IQ3_S: BlocksIq.Iq3S(blocks, values); break;
            case WeightFormat.IQ3_XXS: BlocksIq.Iq3Xxs(blocks, values); break;
            case WeightFormat.IQ2_S: BlocksIq.Iq2S(blocks, values); break;
            case WeightFormat.IQ2_XS: BlocksIq.Iq2Xs(blocks, values); break;
            case WeightFormat.IQ2_XXS: BlocksIq.Iq2Xxs(blocks, values); break;
            case WeightFormat.IQ1_S: BlocksIq.Iq1S(blocks, values); break;
            case WeightFormat.IQ1_M: BlocksIq.Iq1M(blocks, values); break;
            case WeightFormat.TQ1_0: BlocksFew.Tq1(blocks, values); break;
            case WeightFormat.TQ2_0: BlocksFew.Tq2(blocks, values); break;
            case WeightFormat.Q1_0: BlocksFew.Q1(blocks, values); break;
            case WeightFormat.Q2_0: BlocksFew.Q2(blocks, values); break;
            case WeightFormat.MXFP4: BlocksFew.Mxfp4(blocks, values); break;
            case WeightFormat.NVFP4: BlocksFew.Nvfp4(blocks, values); break;
            case WeightFormat.INT4_F16 or WeightFormat.INT4_BF16: BlocksFew.Int4(format, blocks, values); break;
            case WeightFormat.INT8: BlocksFew.Int8(blocks, values); break;
            case WeightFormat.FP8: BlocksFew.Fp8(blocks, values); break;
            default: throw new ArgumentOutOfRangeException(nameof(format), format, "unknown weight format");
        }
    }
}
