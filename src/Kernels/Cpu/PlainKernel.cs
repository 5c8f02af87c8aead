using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>The panel kernel in plain loops: every CPU, and what the faster kernels are tested against.</summary>
internal sealed unsafe class PlainKernel(PanelFormat format, ActivationKind kind) : BlockwiseKernel(format, kind, new TileShape(8, 1), CorrectionKind.Sum)
{
    /// <summary>Bytes used of PanelCall.Scratch: a decoded block with its weights, or the weights of a float one.</summary>
    public static int ScratchBytes => Math.Max(sizeof(DecodedBlock) + (32 * 16 * sizeof(float)), 32 * 32 * sizeof(float));

    /// <summary>One block of bf16 for outputs [first, first + count) of a panel's 32: pairs of inputs, the odd one first, subnormals flushed.</summary>
    public static void BFloats(byte* codes, ushort* a, int rows, float* acc, int first, int count)
    {
        for (int row = 0; row < rows; row++)
        {
            ushort* x = a + (row * 32);
            for (int k = 0; k < 32; k += 2)
            {
                for (int lane = first; lane < first + count; lane++)
                {
                    ushort* w = (ushort*)codes + (k * 32) + (lane * 2);
                    float sum = acc[(row * 32) + lane];
                    sum = FlushingMultiplyAdd(Flush(FromBFloat(w[1])), Flush(FromBFloat(x[k + 1])), sum);
                    sum = FlushingMultiplyAdd(Flush(FromBFloat(w[0])), Flush(FromBFloat(x[k])), sum);
                    acc[(row * 32) + lane] = sum;
                }
            }
        }
    }

    /// <inheritdoc/>
    protected override void Accumulate(byte* unit, int block, byte* a, int rows, int groups, float* acc, byte* scratch)
    {
        if (Kind == ActivationKind.BFloat16)
        {
            BFloats(unit, (ushort*)a, rows, acc, 0, 32);
            return;
        }
        if (Format.IsFloat)
        {
            float* values = (float*)unit;
            if (Format.Codes != CodeLayout.Float32)
            {
                values = (float*)scratch;
                Widen(Format.Codes, unit, values);
            }
            Floats(values, 32, (float*)a, rows, acc);
            return;
        }
        DecodedBlock* decoded = (DecodedBlock*)scratch;
        Decode(unit, block, decoded);
        if (Kind == ActivationKind.Int8)
        {
            Integers(decoded, a, rows, acc);
            return;
        }
        float* weights = (float*)(decoded + 1);
        Values(decoded, weights);
        Floats(weights, 16, (float*)a, rows, acc);
    }

    private void Decode(byte* unit, int block, DecodedBlock* decoded)
    {
        byte* codes = Codes(unit, block);
        for (int k = 0; k < 32; k++)
            for (int lane = 0; lane < 16; lane++)
                decoded->Codes[((k >> 2) * 64) + (lane * 4) + (k & 3)] = PanelCodes.Get(Format, codes, k, lane);
        for (int lane = 0; lane < 16; lane++)
            PanelCodes.Scales(Format, unit, block, lane, out decoded->Scale0[lane], out decoded->Scale1[lane], out decoded->Min0[lane], out decoded->Min1[lane]);
    }

    private void Values(DecodedBlock* decoded, float* values)
    {
        for (int k = 0; k < 32; k++)
        {
            for (int lane = 0; lane < 16; lane++)
            {
                int code = decoded->Codes[((k >> 2) * 64) + (lane * 4) + (k & 3)];
                float scale = k < 16 ? decoded->Scale0[lane] : decoded->Scale1[lane], min = k < 16 ? decoded->Min0[lane] : decoded->Min1[lane];
                values[(k * 16) + lane] = PanelCodes.Value(Format, code, scale, min);
            }
        }
    }

    private static void Widen(CodeLayout layout, byte* codes, float* values)
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

    private void Integers(DecodedBlock* weights, byte* a, int rows, float* acc)
    {
        float* scales = (float*)(a + (rows * 32));
        byte* first = a + (rows * 36), second = a + (rows * 40);
        for (int row = 0; row < rows; row++)
        {
            sbyte* codes = (sbyte*)a + (row * 32);
            int start0 = Format.HasMinimum ? 0 : ((int*)first)[row], start1 = Format.HasMinimum || Format.Halves == 1 ? 0 : ((int*)second)[row];
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
                if (Format.Halves == 2)
                {
                    float scaled = sum0 * weights->Scale0[lane];
                    scaled = MathF.FusedMultiplyAdd(sum1, weights->Scale1[lane], scaled);
                    sum = MathF.FusedMultiplyAdd(scaled, scales[row], sum);
                }
                else
                {
                    sum = MathF.FusedMultiplyAdd(sum0 + sum1, weights->Scale0[lane] * scales[row], sum);
                }
                if (Format.HasMinimum)
                    sum = MathF.FusedMultiplyAdd(weights->Min0[lane], ((float*)first)[row], sum);
                if (Format.HasMinimum && Format.Halves == 2)
                    sum = MathF.FusedMultiplyAdd(weights->Min1[lane], ((float*)second)[row], sum);
                acc[(row * 16) + lane] = sum;
            }
        }
    }

    private static void Floats(float* values, int outputs, float* a, int rows, float* acc)
    {
        for (int row = 0; row < rows; row++)
            for (int k = 0; k < 32; k++)
                for (int lane = 0; lane < outputs; lane++)
                    acc[(row * outputs) + lane] = MathF.FusedMultiplyAdd(values[(k * outputs) + lane], a[(row * 32) + k], acc[(row * outputs) + lane]);
    }

    private static float FromBFloat(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    // The processor flushes what is below 2^-126 after rounding with an unbounded exponent: also what only the coarser grid of the subnormals
    // rounds up to it. There factors and sum are small enough to be scaled into the normal numbers.
    private static float FlushingMultiplyAdd(float a, float b, float sum)
    {
        const float smallestNormal = 1.17549435e-38f, scale = 18446744073709551616f;
        float result = MathF.FusedMultiplyAdd(a, b, sum);
        if (MathF.Abs(result) != smallestNormal)
            return Flush(result);
        float unbounded = MathF.Abs(a) < MathF.Abs(b) ? MathF.FusedMultiplyAdd(a * scale, b, sum * scale) : MathF.FusedMultiplyAdd(a, b * scale, sum * scale);
        return MathF.Abs(unbounded) < smallestNormal * scale ? MathF.CopySign(0f, result) : result;
    }

    private static float Flush(float value) => float.IsSubnormal(value) ? MathF.CopySign(0f, value) : value;

    /// <summary>32 inputs × 16 outputs of a quantised panel, decoded.</summary>
    private struct DecodedBlock
    {
        /// <summary>Unsigned codes: vector k / 4, byte 4 · output + (k mod 4).</summary>
        public fixed byte Codes[512];

        /// <summary>Scales of inputs 0..15, or of all 32.</summary>
        public fixed float Scale0[16];

        /// <summary>Scales of inputs 16..31.</summary>
        public fixed float Scale1[16];

        /// <summary>Minima of inputs 0..15, or of all 32, with the file's sign.</summary>
        public fixed float Min0[16];

        /// <summary>Minima of inputs 16..31.</summary>
        public fixed float Min1[16];
    }
}
