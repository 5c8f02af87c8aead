using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>The panel kernel of the plain and intrinsic paths: decode a block once, use it for all rows, keep the sums in the merge stack.</summary>
internal sealed unsafe class BlockKernel<TMath>(PanelFormat format, ActivationLayout layout) : PanelKernel
    where TMath : IBlockMath
{
    /// <inheritdoc/>
    public override void Run(int rows, PanelCall* call)
    {
        int outputs = format.PanelOutputs, tile = rows * outputs, perUnit = format.BlocksPerUnit;
        long blockBytes = (long)layout.RowBytes * rows;
        byte* a = call->Activations, next = call->Next;
        float* acc = call->Stack;
        for (long leaf = 0; leaf < call->LeafCount; leaf++)
        {
            LeafEntry entry = call->Leaves[leaf];
            byte* unit = call->Panel + entry.UnitOffset;
            int block = entry.FirstBlock;
            new Span<float>(acc, tile).Clear();
            for (int i = 0; i < entry.Blocks; i++, a += blockBytes)
            {
                for (long line = 0; line < call->LinesPerBlock; line++, next += 64)
                    Prefetch(next);
                Accumulate(unit, block, a, rows, acc, call->Scratch);
                if (++block == perUnit)
                {
                    block = 0;
                    unit += format.UnitBytes;
                }
            }
            for (int merge = 0; merge < entry.Merges; merge++, acc -= tile)
                TMath.Merge(acc - tile, acc, tile);
            acc += tile;
        }
        if (call->Pieces != 1)
            return;
        for (int row = 0; row < rows; row++)
            new ReadOnlySpan<float>(call->Stack + (row * outputs), outputs).CopyTo(new Span<float>((byte*)call->Output + (row * call->OutputStride), outputs));
    }

    private static void Prefetch(byte* line)
    {
        if (System.Runtime.Intrinsics.X86.Sse.IsSupported)
            System.Runtime.Intrinsics.X86.Sse.Prefetch1(line);
    }

    private void Accumulate(byte* unit, int block, byte* a, int rows, float* acc, byte* scratch)
    {
        if (layout.Kind == ActivationKind.BFloat16)
        {
            TMath.BFloats(unit, a, rows, acc, (float*)scratch);
            return;
        }
        if (format.IsFloat)
        {
            float* values = (float*)unit;
            if (format.Codes != CodeLayout.Float32)
            {
                values = (float*)scratch;
                TMath.Widen(format.Codes, unit, values);
            }
            TMath.Floats(values, 32, (float*)a, rows, acc);
            return;
        }
        DecodedBlock* decoded = (DecodedBlock*)scratch;
        TMath.Decode(format, unit, block, decoded);
        if (layout.Kind == ActivationKind.Int8)
        {
            Integers(decoded, a, rows, acc);
            return;
        }
        float* weights = (float*)(decoded + 1);
        TMath.Values(format, decoded, weights);
        TMath.Floats(weights, 16, (float*)a, rows, acc);
    }

    private void Integers(DecodedBlock* weights, byte* a, int rows, float* acc)
    {
        if (format.Bias == 128)
            TMath.Integers<EightBits>(format, weights, a, rows, acc);
        else if (format.Bias == 32)
            TMath.Integers<SixBits>(format, weights, a, rows, acc);
        else
            TMath.Integers<FiveBits>(format, weights, a, rows, acc);
    }
}
