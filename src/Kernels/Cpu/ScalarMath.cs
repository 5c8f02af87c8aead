using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>Plain loops: every CPU, and what the other paths are tested against.</summary>
internal readonly unsafe struct ScalarMath : IBlockMath
{
    /// <inheritdoc/>
    public static void Decode(PanelFormat format, byte* unit, int block, DecodedBlock* decoded)
    {
        byte* codes = unit + format.HeaderBytes + (block * format.BlockBytes) + format.BlockScaleBytes;
        for (int k = 0; k < 32; k++)
            for (int lane = 0; lane < 16; lane++)
                decoded->Codes[((k >> 2) * 64) + (lane * 4) + (k & 3)] = PanelCodes.Get(format.Codes, codes, k, lane);
        for (int lane = 0; lane < 16; lane++)
            PanelCodes.Scales(format, unit, block, lane, out decoded->Scale0[lane], out decoded->Scale1[lane], out decoded->Min0[lane], out decoded->Min1[lane]);
    }

    /// <inheritdoc/>
    public static void Values(PanelFormat format, DecodedBlock* decoded, float* values)
    {
        for (int k = 0; k < 32; k++)
        {
            for (int lane = 0; lane < 16; lane++)
            {
                int code = decoded->Codes[((k >> 2) * 64) + (lane * 4) + (k & 3)];
                float scale = k < 16 ? decoded->Scale0[lane] : decoded->Scale1[lane], min = k < 16 ? decoded->Min0[lane] : decoded->Min1[lane];
                values[(k * 16) + lane] = PanelCodes.Value(format, code, scale, min);
            }
        }
    }

    /// <inheritdoc/>
    public static void Widen(CodeLayout layout, byte* codes, float* values)
    {
        for (int k = 0; k < 32; k++)
        {
            for (int lane = 0; lane < 32; lane++)
            {
                values[(k * 32) + lane] = layout == CodeLayout.Float16
                    ? (float)((Half*)codes)[(k * 32) + lane]
                    : FromBFloat(((ushort*)codes)[((k >> 1) * 64) + (lane * 2) + (k & 1)]);
            }
        }
    }

    /// <inheritdoc/>
    public static void Integers<TCodes>(PanelFormat format, DecodedBlock* weights, byte* a, int rows, float* acc)
        where TCodes : struct, ICodeRange
    {
        float* scales = (float*)(a + (rows * 32));
        byte* first = a + (rows * 36), second = a + (rows * 40);
        for (int row = 0; row < rows; row++)
        {
            sbyte* codes = (sbyte*)a + (row * 32);
            int start0 = format.HasMinimum ? 0 : ((int*)first)[row], start1 = format.HasMinimum || format.Halves == 1 ? 0 : ((int*)second)[row];
            for (int lane = 0; lane < 16; lane++)
            {
                int sum0 = start0, sum1 = start1;
                for (int k = 0; k < 16; k++)
                {
                    int at = ((k >> 2) * 64) + (lane * 4) + (k & 3);
                    sum0 += weights->Codes[at] * codes[k];
                    sum1 += weights->Codes[at + 256] * codes[k + 16];
                }
                float sum = acc[(row * 16) + lane];
                if (format.Halves == 2)
                {
                    float scaled = sum0 * weights->Scale0[lane];
                    scaled = MathF.FusedMultiplyAdd(sum1, weights->Scale1[lane], scaled);
                    sum = MathF.FusedMultiplyAdd(scaled, scales[row], sum);
                }
                else
                {
                    sum = MathF.FusedMultiplyAdd(sum0 + sum1, weights->Scale0[lane] * scales[row], sum);
                }
                if (format.HasMinimum)
                    sum = MathF.FusedMultiplyAdd(weights->Min0[lane], ((float*)first)[row], sum);
                if (format.HasMinimum && format.Halves == 2)
                    sum = MathF.FusedMultiplyAdd(weights->Min1[lane], ((float*)second)[row], sum);
                acc[(row * 16) + lane] = sum;
            }
        }
    }

    /// <inheritdoc/>
    public static void Floats(float* values, int outputs, float* a, int rows, float* acc)
    {
        for (int row = 0; row < rows; row++)
            for (int k = 0; k < 32; k++)
                for (int lane = 0; lane < outputs; lane++)
                    acc[(row * outputs) + lane] = MathF.FusedMultiplyAdd(values[(k * outputs) + lane], a[(row * 32) + k], acc[(row * outputs) + lane]);
    }

    /// <inheritdoc/>
    public static void BFloats(byte* codes, byte* a, int rows, float* acc, float* scratch)
    {
        for (int row = 0; row < rows; row++)
        {
            ushort* x = (ushort*)a + (row * 32);
            for (int k = 0; k < 32; k += 2)
            {
                for (int lane = 0; lane < 32; lane++)
                {
                    ushort* w = (ushort*)codes + (k * 32) + (lane * 2);
                    float sum = acc[(row * 32) + lane];
                    sum = Flush(MathF.FusedMultiplyAdd(Flush(FromBFloat(w[1])), Flush(FromBFloat(x[k + 1])), sum));
                    sum = Flush(MathF.FusedMultiplyAdd(Flush(FromBFloat(w[0])), Flush(FromBFloat(x[k])), sum));
                    acc[(row * 32) + lane] = sum;
                }
            }
        }
    }

    /// <inheritdoc/>
    public static void Merge(float* lower, float* upper, int count)
    {
        for (int i = 0; i < count; i++)
            lower[i] += upper[i];
    }

    private static float FromBFloat(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    private static float Flush(float value) => float.IsSubnormal(value) ? MathF.CopySign(0f, value) : value;
}
