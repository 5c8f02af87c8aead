using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Packing;

/// <summary>File rows → panels: each panel reads its 16 or 32 rows once, four side by side, and only the units that the wanted columns touch.</summary>
/// <remarks>
/// Threads   panels are shared out; each is written by one thread into zeroed memory, which also places its pages near that thread.
///           Outputs beyond the last row stay zero.
/// Cost      reads the rows, writes the panel four times in 16-byte pieces while it is in the cache: bound by memory where codes are only moved.
/// </remarks>
internal readonly unsafe struct PanelPacker(WeightRows rows, PanelFormat format, int firstUnit, int units, byte* panels) : IParallelWork
{
    /// <inheritdoc/>
    public void Execute(int first, int end, int thread)
    {
        for (int panel = first; panel < end; panel++)
        {
            byte* target = panels + (panel * format.PanelBytes(units));
            int firstRow = panel * format.PanelOutputs, outputs = Math.Min(format.PanelOutputs, rows.Outputs - firstRow);
            for (int lane = 0; lane < outputs; lane += 4)
                Pack(firstRow + lane, Math.Min(4, outputs - lane), target, lane);
        }
    }

    /// <summary>Up to four rows of one panel, whose first wanted unit lies at <paramref name="target"/>, into lanes that are zero.</summary>
    public void Pack(int firstRow, int count, byte* target, int lane)
    {
        if (format.IsFloat)
            PackFloats(firstRow, count, target, lane);
        else if (format.Scales == ScaleLayout.Block && format.BlocksPerUnit == 1 && format.Codes is CodeLayout.Nibbles or CodeLayout.NibbleTable or CodeLayout.Bytes)
            PackWhole(firstRow, count, target, lane);
        else
            PackBlocks(firstRow, count, target, lane);
    }

    private void PackFloats(int firstRow, int present, byte* target, int lane)
    {
        int size = format.Codes == CodeLayout.Float32 ? 4 : 2, from = firstUnit * 32, count = Math.Min(units * 32, rows.FileColumns - from);
        FourRows four = new(rows, firstRow, present, from * size, count * size);
        if (format.Codes == CodeLayout.Float16)
            PackHalves(four, count, (ushort*)target + lane);
        else
            PackDwords(four, count * size / 4, (uint*)target + lane);
        if (format.Codes == CodeLayout.BFloat16 && (count & 1) != 0)
            for (int i = 0; i < present; i++)
                ((ushort*)target)[((long)(count >> 1) * 64) + ((lane + i) * 2)] = (ushort)(four.Halves((count - 1) * 2) >> (16 * i));
    }

    // A float, or a pair of 16-bit ones, of each of 32 outputs.
    private static void PackDwords(FourRows four, int count, uint* target)
    {
        int k = 0;
        for (; k <= count - 4; k += 4, target += 4 * 32)
        {
            (Vector128<uint> d0, Vector128<uint> d1, Vector128<uint> d2, Vector128<uint> d3) = four.Dwords(4 * k);
            d0.Store(target);
            d1.Store(target + 32);
            d2.Store(target + 64);
            d3.Store(target + 96);
        }
        for (; k < count; k++, target += 32)
            four.Dword(4 * k).Store(target);
    }

    private static void PackHalves(FourRows four, int count, ushort* target)
    {
        int k = 0;
        for (; k <= count - 8; k += 8, target += 8 * 32)
        {
            (Vector128<ushort> p0, Vector128<ushort> p1, Vector128<ushort> p2, Vector128<ushort> p3) = four.Words(2 * k);
            p0.GetLower().Store(target);
            p0.GetUpper().Store(target + 32);
            p1.GetLower().Store(target + 64);
            p1.GetUpper().Store(target + 96);
            p2.GetLower().Store(target + 128);
            p2.GetUpper().Store(target + 160);
            p3.GetLower().Store(target + 192);
            p3.GetUpper().Store(target + 224);
        }
        for (; k < count; k++, target += 32)
            *(ulong*)target = four.Halves(2 * k);
    }

    // Blocks whose bytes are the panel's: four consecutive bytes of a row are one dword of a vector. Whole bytes become unsigned, + 128.
    private void PackWhole(int firstRow, int present, byte* target, int lane)
    {
        int bytes = rows.Format.BlockBytes(), header = format.HasMinimum ? 4 : 2;
        FourRows four = new(rows, firstRow, present, firstUnit * bytes, units * bytes);
        int unitBytes = format.UnitBytes, codesAt = format.HeaderBytes;
        bool isBytes = format.Codes == CodeLayout.Bytes, hasMinimum = format.HasMinimum;
        Vector128<uint> flip = isBytes ? Vector128.Create(0x80808080u) & four.Present : Vector128<uint>.Zero;
        byte* unit = target;
        for (int at = 0; at < units * bytes; at += bytes, unit += unitBytes)
        {
            *(ulong*)((ushort*)unit + lane) = four.Halves(at);
            if (hasMinimum)
                *(ulong*)((ushort*)(unit + PanelFormat.MinimumOffset) + lane) = four.Halves(at + 2);
            uint* codes = (uint*)(unit + codesAt) + lane;
            Put(four, at + header, flip, codes);
            if (isBytes)
                Put(four, at + header + 16, flip, codes + 64);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Put(FourRows four, int at, Vector128<uint> flip, uint* codes)
        {
            (Vector128<uint> d0, Vector128<uint> d1, Vector128<uint> d2, Vector128<uint> d3) = four.Dwords(at);
            (d0 ^ flip).Store(codes);
            (d1 ^ flip).Store(codes + 16);
            (d2 ^ flip).Store(codes + 32);
            (d3 ^ flip).Store(codes + 48);
        }
    }

    private void PackBlocks(int firstRow, int present, byte* target, int lane)
    {
        int bytes = format.FileBlockBytes, start = firstUnit * bytes, length = units * bytes; // a unit is a block of the file, of each row
        ReadOnlySpan<byte> row0 = rows.Part(firstRow, start, length), row1 = present > 1 ? rows.Part(firstRow + 1, start, length) : default;
        ReadOnlySpan<byte> row2 = present > 2 ? rows.Part(firstRow + 2, start, length) : default, row3 = present > 3 ? rows.Part(firstRow + 3, start, length) : default;
        GgmlBlock* blocks = stackalloc GgmlBlock[4]; // those of missing rows stay zero
        uint* columns = stackalloc uint[8 * 4];
        WeightFormat file = rows.Format;
        int perUnit = format.BlocksPerUnit, unitAt = 0, block = 0;
        for (int i = 0; i < units * perUnit; i++, block++)
        {
            if (block == perUnit)
                (unitAt, block) = (unitAt + 1, 0);
            int at = unitAt * bytes;
            blocks[0].ReadPart(file, row0.Slice(at, bytes), block);
            if (present > 1)
                blocks[1].ReadPart(file, row1.Slice(at, bytes), block);
            if (present > 2)
                blocks[2].ReadPart(file, row2.Slice(at, bytes), block);
            if (present > 3)
                blocks[3].ReadPart(file, row3.Slice(at, bytes), block);
            byte* unit = target + ((long)unitAt * format.UnitBytes);
            for (int row = 0; row < present; row++)
            {
                PutFactors(unit, lane + row, ref blocks[row]);
                PutScales(unit, block, lane + row, ref blocks[row]);
            }
            for (int half = 0; half < 2; half++)
            {
                (Vector128<uint> d0, Vector128<uint> d1, Vector128<uint> d2, Vector128<uint> d3) = FourRows.Transposed(
                    Codes(blocks, half), Codes(blocks + 1, half), Codes(blocks + 2, half), Codes(blocks + 3, half), Vector128<uint>.AllBitsSet);
                d0.Store(columns + (16 * half));
                d1.Store(columns + (16 * half) + 4);
                d2.Store(columns + (16 * half) + 8);
                d3.Store(columns + (16 * half) + 12);
            }
            PutCodes((uint*)(unit + format.HeaderBytes + (block * format.BlockBytes) + format.BlockScaleBytes) + lane, columns);
        }

        static Vector128<uint> Codes(GgmlBlock* block, int half) => Vector128.Load((uint*)block->Codes + (4 * half));
    }

    // Four codes of four outputs at a time: the inverse of CodeStep, on dwords whose bytes never overflow into each other.
    private void PutCodes(uint* codes, uint* columns)
    {
        foreach (CodeStep step in format.Steps)
        {
            Vector128<uint> four = Vector128.Load(columns + (4 * step.K4));
            uint* low = codes + (16 * step.Low);
            (Vector128.Load(low) | ((four & Vector128.Create((uint)step.LowMask * 0x01010101)) << step.LowShift)).Store(low);
            if (step.High < 0)
                continue;
            Vector128<uint> bits = four & Vector128.Create((uint)step.HighMask * 0x01010101);
            uint* high = codes + (16 * step.High);
            (Vector128.Load(high) | (step.HighShift >= 0 ? bits >> step.HighShift : bits << -step.HighShift)).Store(high);
        }
    }

    // What the header has one of for each output.
    private void PutFactors(byte* unit, int lane, ref GgmlBlock source)
    {
        switch (format.Scales)
        {
            case ScaleLayout.Exponent:
                unit[lane] = (byte)source.Scale0;
                break;
            case ScaleLayout.Single:
                ((uint*)unit)[lane] = source.Single;
                break;
            case ScaleLayout.Zero or ScaleLayout.BFloatZero:
                ((ushort*)unit)[lane] = source.D;
                unit[PanelFormat.MinimumOffset + lane] = (byte)source.Min0;
                break;
            case ScaleLayout.Float8:
                break;
            default:
                ((ushort*)unit)[lane] = source.D;
                if (format.HasMinimum)
                    ((ushort*)(unit + PanelFormat.MinimumOffset))[lane] = source.DMin;
                break;
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
            case ScaleLayout.Bytes or ScaleLayout.Float8:
                inline[lane] = (byte)source.Scale0;
                if (format.Halves == 2)
                    inline[16 + lane] = (byte)source.Scale1;
                break;
            case ScaleLayout.Nibbles:
                inline[lane] = (byte)(source.Scale0 | source.Min0 << 4);
                inline[16 + lane] = (byte)(source.Scale1 | source.Min1 << 4);
                break;
            default:
                break; // all stands in the header
        }
    }
}
