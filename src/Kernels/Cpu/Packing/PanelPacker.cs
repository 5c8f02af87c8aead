using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cpu.Packing;

/// <summary>File rows → panels: each panel reads its 16 or 32 rows once, only the units that the wanted columns touch.</summary>
/// <remarks>
/// Threads   panels are shared out; each is written by one thread into zeroed memory, which also places its pages near that thread.
///           Outputs beyond the last row stay zero.
/// </remarks>
internal readonly unsafe struct PanelPacker(WeightRows rows, PanelFormat format, int firstUnit, int units, byte* panels) : IParallelWork
{
    /// <inheritdoc/>
    public void Execute(int first, int end, int thread)
    {
        for (int panel = first; panel < end; panel++)
        {
            byte* target = panels + (panel * format.PanelBytes(units));
            int lanes = Math.Min(format.PanelOutputs, rows.Outputs - (panel * format.PanelOutputs));
            for (int lane = 0; lane < lanes; lane++)
            {
                ReadOnlySpan<byte> row = rows.Row((panel * format.PanelOutputs) + lane);
                if (row.Length != rows.Format.RowBytes(rows.FileColumns))
                    throw new ArgumentException($"A row of {rows.FileColumns} {rows.Format} weights has {row.Length} bytes, expected {rows.Format.RowBytes(rows.FileColumns)}.");
                if (format.IsFloat)
                    PackFloats(row, target, lane);
                else if (format.Scales == ScaleLayout.Block && format.Codes is CodeLayout.Nibbles or CodeLayout.NibbleTable)
                    PackNibbles(row, target, lane);
                else if (format.Codes == CodeLayout.Bytes)
                    PackBytes(row, target, lane);
                else
                    PackBlocks(row, target, lane);
            }
        }
    }

    private void PackFloats(ReadOnlySpan<byte> row, byte* target, int lane)
    {
        int from = firstUnit * 32, count = Math.Min(units * 32, rows.FileColumns - from);
        if (format.Codes == CodeLayout.Float32)
        {
            ReadOnlySpan<float> values = MemoryMarshal.Cast<byte, float>(row).Slice(from, count);
            for (int k = 0; k < count; k++)
                ((float*)target)[((long)k * 32) + lane] = values[k];
            return;
        }
        ReadOnlySpan<ushort> halves = MemoryMarshal.Cast<byte, ushort>(row).Slice(from, count);
        for (int k = 0; k < count; k++)
        {
            long at = format.Codes == CodeLayout.Float16 ? ((long)k * 32) + lane : ((long)(k >> 1) * 64) + (lane * 2) + (k & 1);
            ((ushort*)target)[at] = halves[k];
        }
    }

    // The file's byte pairs are the panel's: four consecutive bytes of a row are one dword of a vector.
    private void PackNibbles(ReadOnlySpan<byte> row, byte* target, int lane)
    {
        int header = format.HeaderBytes, bytes = rows.Format.BlockBytes();
        for (int block = 0; block < units; block++)
        {
            byte* unit = target + ((long)block * format.UnitBytes);
            ReadOnlySpan<byte> source = row.Slice((firstUnit + block) * bytes, bytes);
            ReadOnlySpan<ushort> scales = MemoryMarshal.Cast<byte, ushort>(source);
            ((ushort*)unit)[lane] = scales[0];
            if (format.HasMinimum)
                ((ushort*)(unit + PanelFormat.MinimumOffset))[lane] = scales[1];
            ReadOnlySpan<uint> codes = MemoryMarshal.Cast<byte, uint>(source[(format.HasMinimum ? 4 : 2)..]);
            for (int j = 0; j < 4; j++)
                ((uint*)(unit + header + (64 * j)))[lane] = codes[j];
        }
    }

    private void PackBytes(ReadOnlySpan<byte> row, byte* target, int lane)
    {
        int bytes = rows.Format.BlockBytes();
        for (int block = 0; block < units; block++)
        {
            byte* unit = target + ((long)block * format.UnitBytes);
            ReadOnlySpan<byte> source = row.Slice((firstUnit + block) * bytes, bytes);
            ((ushort*)unit)[lane] = MemoryMarshal.Read<ushort>(source);
            ReadOnlySpan<uint> codes = MemoryMarshal.Cast<byte, uint>(source[2..]);
            for (int j = 0; j < 8; j++)
                ((uint*)(unit + 32 + (64 * j)))[lane] = codes[j] ^ 0x80808080; // + 128 in every byte
        }
    }

    private void PackBlocks(ReadOnlySpan<byte> row, byte* target, int lane)
    {
        GgmlBlock source = default;
        int perUnit = format.BlocksPerUnit;
        for (int i = 0; i < units * perUnit; i++)
        {
            byte* unit = target + ((long)(i / perUnit) * format.UnitBytes);
            int block = i % perUnit;
            source.Read(rows.Format, row, (firstUnit * perUnit) + i);
            ((ushort*)unit)[lane] = source.D;
            if (format.HasMinimum)
                ((ushort*)(unit + PanelFormat.MinimumOffset))[lane] = source.DMin;
            PutScales(unit, block, lane, ref source);
            byte* codes = unit + format.HeaderBytes + (block * format.BlockBytes) + format.BlockScaleBytes;
            PutCodes((uint*)codes + lane, ref source);
        }
    }

    // Four codes at a time: the inverse of CodeStep, on dwords whose bytes never overflow into each other.
    private void PutCodes(uint* codes, ref GgmlBlock source)
    {
        foreach (CodeStep step in format.Steps)
        {
            uint four = Unsafe.ReadUnaligned<uint>(ref source.Codes[4 * step.K4]);
            codes[16 * step.Low] |= (four & ((uint)step.LowMask * 0x01010101)) << step.LowShift;
            if (step.High < 0)
                continue;
            uint high = four & ((uint)step.HighMask * 0x01010101);
            codes[16 * step.High] |= step.HighShift >= 0 ? high >> step.HighShift : high << -step.HighShift;
        }
    }

    private void PutScales(byte* unit, int block, int lane, ref GgmlBlock source)
    {
        byte* table = unit + format.SixBitOffset;
        byte* inline = unit + format.HeaderBytes + (block * format.BlockBytes);
        int even = (2 * block * 16) + lane, odd = even + 16;
        switch (format.Scales)
        {
            case ScaleLayout.SixBit when format.HasMinimum:
                PanelCodes.PutSixBit(table, even, source.Scale0);
                PanelCodes.PutSixBit(table, odd, source.Min0);
                break;
            case ScaleLayout.SixBit:
                PanelCodes.PutSixBit(table, even, source.Scale0 + 32);
                PanelCodes.PutSixBit(table, odd, source.Scale1 + 32);
                break;
            case ScaleLayout.Bytes:
                inline[lane] = (byte)source.Scale0;
                inline[16 + lane] = (byte)source.Scale1;
                break;
            case ScaleLayout.Nibbles:
                inline[lane] = (byte)(source.Scale0 | source.Min0 << 4);
                inline[16 + lane] = (byte)(source.Scale1 | source.Min1 << 4);
                break;
            default:
                break; // one fp16 scale per block: already written
        }
    }
}
