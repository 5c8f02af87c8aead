using System.Runtime.CompilerServices;

namespace TpServe.Kernels.Cpu.Packing;

/// <summary>Packed panels and file rows → panels: what other panels hold is copied from them, the rest is read from the file.</summary>
/// <remarks>
/// Four rows of a panel are copied where one source holds all of them, and of those the units that it holds; at the ends of a range up to three rows are read
/// again. Ranges of whole panels, which ranges of a model's heads and leaves nearly always are, are copied as they lie.
/// Threads   panels are shared out; each is written by one thread into zeroed memory.
/// </remarks>
/// <param name="rows">The matrix as the file has it.</param>
/// <param name="format">How panels lie.</param>
/// <param name="firstUnit">First unit of columns wanted, counted from the file's first column.</param>
/// <param name="units">Units wanted.</param>
/// <param name="panels">Where the panels go.</param>
/// <param name="kept">What is packed already.</param>
/// <param name="readBytes">Adds up the file's bytes that were read.</param>
internal readonly unsafe struct KeptPacker(WeightRows rows, PanelFormat format, int firstUnit, int units, byte* panels, KeptRows[] kept, long* readBytes) : IParallelWork
{
    private const int Group = 4;

    /// <inheritdoc/>
    public void Execute(int first, int end, int thread)
    {
        long read = 0;
        for (int panel = first; panel < end; panel++)
        {
            byte* target = panels + (panel * format.PanelBytes(units));
            int firstRow = panel * format.PanelOutputs, outputs = Math.Min(format.PanelOutputs, rows.Outputs - firstRow);
            if (Holder(firstRow, outputs) is { } whole && Row(whole, firstRow) % format.PanelOutputs == 0)
            {
                read += Fill(whole, firstRow, outputs, target, 0, wholePanel: true);
                continue;
            }
            for (int lane = 0; lane < outputs; lane += Group)
            {
                int count = Math.Min(Group, outputs - lane);
                read += Holder(firstRow + lane, count) is { } holder
                    ? Fill(holder, firstRow + lane, count, target, lane, wholePanel: false)
                    : Read(firstRow + lane, count, target, lane, firstUnit, firstUnit + units);
            }
            rows.Release(firstRow, outputs);
        }
        Interlocked.Add(ref Unsafe.AsRef<long>(readBytes), read);
    }

    private static int Row(KeptRows kept, int row) => row - kept.FirstTarget + kept.FirstSource;

    /// <summary>Who holds all of these rows in columns that are wanted.</summary>
    private KeptRows? Holder(int row, int count)
    {
        foreach (KeptRows range in kept)
            if (row >= range.FirstTarget && row + count <= range.FirstTarget + range.Rows && Shared((CpuPackedWeight)range.Source) is var (from, end) && end > from)
                return range;
        return null;
    }

    /// <summary>The wanted units that a source holds.</summary>
    private (int From, int End) Shared(CpuPackedWeight source) => (Math.Max(firstUnit, source.FirstUnit), Math.Min(firstUnit + units, source.FirstUnit + source.Units));

    /// <summary>Copies what a source holds of rows, and reads the columns before and after it.</summary>
    private long Fill(KeptRows holder, int row, int count, byte* target, int lane, bool wholePanel)
    {
        CpuPackedWeight source = (CpuPackedWeight)holder.Source;
        (int from, int end) = Shared(source);
        long read = 0;
        for (int done = 0; done < count; done += Group)
        {
            int group = Math.Min(Group, count - done);
            read += Read(row + done, group, target, lane + done, firstUnit, from) + Read(row + done, group, target, lane + done, end, firstUnit + units);
        }
        int first = Row(holder, row);
        long bytes = (long)(end - from) * format.UnitBytes, fromAt = (long)(from - source.FirstUnit) * format.UnitBytes;
        byte* to = target + ((long)(from - firstUnit) * format.UnitBytes);
        if (wholePanel)
        {
            Buffer.MemoryCopy(source.PanelAt(first / format.PanelOutputs) + fromAt, to, bytes, bytes);
            return read;
        }
        for (int i = 0; i < count; i++)
        {
            byte* panel = source.PanelAt((first + i) / format.PanelOutputs) + fromAt;
            for (long at = 0; at < bytes; at += format.UnitBytes)
                CopyLane(panel + at, (first + i) % format.PanelOutputs, to + at, lane + i);
        }
        return read;
    }

    /// <summary>Units [from, end) of up to four rows, from the file.</summary>
    private long Read(int row, int count, byte* target, int lane, int from, int end)
    {
        if (end <= from)
            return 0;
        new PanelPacker(rows, format, from, end - from, panels).Pack(row, count, target + ((long)(from - firstUnit) * format.UnitBytes), lane);
        int columns = Math.Min(end * format.BlocksPerUnit * 32, rows.FileColumns) - (from * format.BlocksPerUnit * 32);
        return count * rows.Format.RowBytes(columns);
    }

    /// <summary>One output of a unit from one lane to another, whose memory is zero.</summary>
    private void CopyLane(byte* from, int fromLane, byte* to, int lane)
    {
        if (format.IsFloat)
        {
            int size = format.Codes == CodeLayout.Float16 ? sizeof(ushort) : sizeof(uint); // two binary16 of the truncated kind are a dword
            for (int at = 0; at < format.UnitBytes; at += 32 * size)
                Unsafe.CopyBlockUnaligned(to + at + (lane * size), from + at + (fromLane * size), (uint)size);
            return;
        }
        foreach ((int offset, int bytes) in format.LaneFields)
            Unsafe.CopyBlockUnaligned(to + offset + (lane * bytes), from + offset + (fromLane * bytes), (uint)bytes);
        if (format.Scales == ScaleLayout.SixBit)
            for (int number = 0; number < 2 * format.BlocksPerUnit; number++)
                PanelCodes.PutSixBit(to + format.SixBitOffset, (16 * number) + lane, PanelCodes.GetSixBit(from + format.SixBitOffset, (16 * number) + fromLane));
        for (int block = 0; block < format.BlocksPerUnit; block++)
        {
            byte* source = from + format.HeaderBytes + (block * format.BlockBytes), target = to + format.HeaderBytes + (block * format.BlockBytes);
            for (int at = 0; at < format.BlockScaleBytes; at += 16)
                target[at + lane] = source[at + fromLane];
            uint* codes = (uint*)(source + format.BlockScaleBytes) + fromLane, put = (uint*)(target + format.BlockScaleBytes) + lane;
            for (int at = 0; at < format.CodeBytes / sizeof(uint); at += 16)
                put[at] = codes[at];
        }
    }
}
