using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TpServe.Kernels.Cpu.Packing;
using TpServe.Kernels.Reference;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>File rows → blocks of the device's layout, any run of blocks at a time.</summary>
/// <remarks>
/// Cost     every byte of the file that the leaves touch is read once; nothing but the piece under way is held on the host.
/// Threads  a run of blocks is shared out to the process's threads.
/// </remarks>
internal sealed unsafe class WeightPacker(WeightRows rows, LinearPlan plan, DeviceLayout layout)
{
    private const int BlocksPerItem = 64;

    private readonly PanelFormat _panel = PanelFormat.Of(rows.Format);

    /// <summary>Bytes of a block of 16 outputs and 32 inputs.</summary>
    public int BlockBytes => layout.BlockWords * sizeof(uint);

    /// <summary>Writes the blocks from <paramref name="first"/> on, counted over all tiles.</summary>
    public void Fill(Span<byte> target, long first)
    {
        long rowBytes = rows.Format.RowBytes(rows.FileColumns);
        target.Clear();
        int count = target.Length / BlockBytes;
        fixed (byte* start = target)
        {
            byte* blocks = start; // pinned until the loop below has ended
            Parallel.For(0, (count + BlocksPerItem - 1) / BlocksPerItem, item =>
            {
                int end = Math.Min(count, (item + 1) * BlocksPerItem);
                for (int i = item * BlocksPerItem; i < end;)
                {
                    int block = (int)((first + i) % plan.Blocks), run = Math.Min(end - i, plan.Blocks - block);
                    Run((first + i) / plan.Blocks, block, run, (uint*)(blocks + ((long)i * BlockBytes)), rowBytes);
                    i += run;
                }
            });
        }
    }

    /// <summary>Consecutive blocks of a tile, row by row, so that a row's bytes are read in one go.</summary>
    private void Run(long tile, int first, int count, uint* target, long rowBytes)
    {
        int firstOutput = (int)tile * CudaPackedWeight.TileOutputs, outputs = Math.Min(CudaPackedWeight.TileOutputs, rows.Outputs - firstOutput);
        for (int output = 0; output < outputs; output++)
        {
            ReadOnlySpan<byte> row = rows.Row(firstOutput + output);
            if (row.Length != rowBytes)
                throw new ArgumentException($"A row of {rows.FileColumns} {rows.Format} weights has {row.Length} bytes, expected {rowBytes}.");
            for (int block = first; block < first + count; block++)
                Block(row, block, output, target + ((long)(block - first) * layout.BlockWords));
        }
    }

    private void Block(ReadOnlySpan<byte> row, int block, int output, uint* target)
    {
        int column = plan.FileColumns[block], inputs = plan.Visits[block].Count;
        switch (layout.Codes)
        {
            case CodeKind.Float32 when rows.Format != WeightFormat.F32:
                Decoded(row, column, inputs, output, (float*)target);
                break;
            case CodeKind.Float32:
                ReadOnlySpan<uint> words = MemoryMarshal.Cast<byte, uint>(row).Slice(column, inputs);
                for (int k = 0; k < words.Length; k++)
                    target[(k * CudaPackedWeight.TileOutputs) + output] = words[k];
                break;
            case CodeKind.Halves:
                Halves(MemoryMarshal.Cast<byte, ushort>(row).Slice(column, inputs), output, target);
                break;
            default:
                GgmlBlock source = default;
                source.Read(rows.Format, row, column / LinearPlan.BlockInputs);
                Coded(ref source, output, target);
                Scales(ref source, output, target + layout.CodeWords);
                break;
        }
    }

    // Inputs of a leaf may begin inside a block of the file and end in the next.
    private void Decoded(ReadOnlySpan<byte> row, int column, int inputs, int output, float* target)
    {
        int size = _panel.FileBlockValues;
        Span<float> values = stackalloc float[64];
        int first = column / size, blocks = ((column + inputs - 1) / size) + 1 - first;
        Dequantize.Row(rows.Format, row.Slice(first * _panel.FileBlockBytes, blocks * _panel.FileBlockBytes), values[..(blocks * size)]);
        for (int k = 0; k < inputs; k++)
            target[(k * CudaPackedWeight.TileOutputs) + output] = values[column - (first * size) + k];
    }

    // Two neighbouring inputs of a row are a word of the file and of a tile.
    private static void Halves(ReadOnlySpan<ushort> values, int output, uint* target)
    {
        ReadOnlySpan<uint> pairs = MemoryMarshal.Cast<ushort, uint>(values);
        for (int pair = 0; pair < pairs.Length; pair++)
            target[HalfTiles.Word(output, pair)] = pairs[pair];
        if (values.Length % 2 != 0)
            target[HalfTiles.Word(output, pairs.Length)] = values[^1];
    }

    // Inputs that belong to a neighbouring leaf keep their codes: the activation is zero there.
    private void Coded(ref GgmlBlock source, int output, uint* target)
    {
        int lane = (output & 7) * 4, upper = output >> 3;
        int bias = _panel.Scales is ScaleLayout.Zero or ScaleLayout.BFloatZero ? source.Min0 : _panel.Bias;
        for (int quad = 0; quad < 8; quad++)
        {
            uint four = Unsafe.ReadUnaligned<uint>(ref source.Codes[4 * quad]);
            if (layout.Codes == CodeKind.Nibbles)
                target[((lane + (quad & 3)) * 2) + upper] |= four << (quad >> 2 << 2);
            else
                target[((lane + (quad & 3)) * 4) + ((quad >> 2) * 2) + upper] = Minus(four, bias);
        }
    }

    /// <summary>Each byte minus the bias, as a signed byte: the bias is 128, or no byte and no bias exceeds 127 and nothing borrows.</summary>
    private static uint Minus(uint bytes, int bias) =>
        bias == 128 ? bytes ^ 0x80808080 : ((bytes | 0x80808080) - ((uint)bias * 0x01010101)) ^ 0x80808080;

    private void Scales(ref GgmlBlock source, int output, uint* target)
    {
        switch (layout.Scales)
        {
            case ScaleKind.Half:
                target[output >> 1] |= (uint)source.D << ((output & 1) * 16);
                break;
            case ScaleKind.HalfMinimum:
                target[output] = source.D | ((uint)source.DMin << 16);
                break;
            case ScaleKind.SixBitMinimum:
                target[output] = source.D | ((uint)source.DMin << 16);
                target[16 + (output >> 1)] |= (uint)(source.Scale0 | (source.Min0 << 8)) << ((output & 1) * 16);
                break;
            case ScaleKind.BytePair:
                target[output] = source.D | ((uint)(byte)source.Scale0 << 16) | ((uint)(byte)source.Scale1 << 24);
                break;
            case ScaleKind.HalfPair:
                target[output] = HalfBits(source.Scale0) | (HalfBits(source.Scale1) << 16);
                break;
            case ScaleKind.Single:
                target[output] = BitConverter.SingleToUInt32Bits(Scale(ref source));
                break;
            case ScaleKind.NibblePairMinimum:
                target[output] = source.D | ((uint)source.DMin << 16);
                target[16 + (output >> 1)] |= (uint)(source.Scale0 | (source.Min0 << 4) | (source.Scale1 << 8) | (source.Min1 << 12)) << ((output & 1) * 16);
                break;
            default:
                break;
        }
    }

    /// <summary>The one scale of a block; every product is exact.</summary>
    private float Scale(ref GgmlBlock source) => _panel.Scales switch
    {
        ScaleLayout.Exponent => MathF.ScaleB(1f, source.Scale0 - 128),
        ScaleLayout.Single => BitConverter.UInt32BitsToSingle(source.Single),
        ScaleLayout.Zero => (float)BitConverter.UInt16BitsToHalf(source.D),
        ScaleLayout.BFloatZero => FloatValues.FromBFloat16(source.D),
        _ => (float)BitConverter.UInt16BitsToHalf(source.D) * source.Scale0 * _panel.Factor,
    };

    /// <summary>Half of an E4M3 as binary16, which holds every one exactly.</summary>
    private static uint HalfBits(int float8) => BitConverter.HalfToUInt16Bits((Half)(FloatValues.E4M3((byte)float8) * 0.5f));
}
