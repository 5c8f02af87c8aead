using System.Numerics;
using TpServe.Ptx.Machine;

namespace TpServe.Ptx.Memory;

/// <summary>The last accesses of a few bytes: the writer and the two latest readers of different warps, each with its clock and site.</summary>
/// <remarks>
/// Ids are 1 + the warp's number in the grid, 0 = nobody. A site is the instruction's index · 2, + 1 where the access is strong
/// (atomic, volatile, relaxed, acquire or release).
/// </remarks>
internal struct Cell
{
    public int Writer, WriteClock, WriteSite;
    public int Reader, ReadClock, ReadSite;
    public int Reader2, ReadClock2, ReadSite2;

    /// <summary>The lanes of the writer and of the latest reader, -1 for several, and the warp's phase then: between barriers of the warp.</summary>
    public short WriteLane, ReadLane;

    public int WritePhase, ReadPhase;

    /// <summary>The number of the executed instruction that wrote: two lanes of one instruction are told by it.</summary>
    public long WriteStamp;
}

/// <summary>The accesses of one launch to one region, to find unordered ones.</summary>
/// <remarks>
/// Numerics a race is two accesses that overlap, at least one a write, at least one weak, and neither ordered before the other by
///          barriers or by fences with strong accesses. Two latest readers are enough while barriers take the whole block: the
///          latest reader of another warp is then the least ordered one. With barriers of a part of the block a race of a third
///          reader may be missed; none is invented.
///          Pages of 256 bytes are divided as finely as the smallest access of them so far.
/// Source   Flanagan and Freund 2009 (FastTrack); PTX ISA, "Memory Consistency Model".
/// </remarks>
internal sealed class ShadowMap(int bytes, bool findsWarpRaces)
{
    private const int PageBits = 8;

    private sealed class Page(int granule)
    {
        public int Granule = granule;
        public Cell[] Cells = new Cell[(1 << PageBits) >> granule];

        /// <summary>Divides the page into finer cells; each keeps what the coarse one knew.</summary>
        public void Split(int granule)
        {
            Cell[] finer = new Cell[(1 << PageBits) >> granule];
            for (int i = 0; i < finer.Length; i++)
                finer[i] = Cells[i >> (Granule - granule)];
            Cells = finer;
            Granule = granule;
        }
    }

    private readonly Page?[] _pages = new Page?[((bytes - 1) >> PageBits) + 1];

    /// <summary>Records a read of size bytes (a power of two, aligned); the site of an unordered write, or -1.</summary>
    public int Read(int offset, int size, Warp warp, int lane, int site)
    {
        Span<Cell> cells = CellsOf(offset, size);
        int me = warp.GlobalId, clock = warp.Clock, phase = warp.Phase;
        foreach (ref Cell cell in cells)
        {
            if (cell.Writer != 0 && cell.Writer != me && (cell.WriteSite & site & 1) == 0 && !warp.Knows(cell.Writer, cell.WriteClock))
                return cell.WriteSite >> 1;
            if (findsWarpRaces && cell.Writer == me && cell.WriteLane != lane && cell.WritePhase == phase && (cell.WriteSite & site & 1) == 0)
                return cell.WriteSite >> 1;
            bool severalLanes = cell.Reader == me && cell.ReadPhase == phase && cell.ReadLane != lane;
            if (cell.Reader != me)
            {
                cell.Reader2 = cell.Reader;
                cell.ReadClock2 = cell.ReadClock;
                cell.ReadSite2 = cell.ReadSite;
                cell.Reader = me;
            }
            cell.ReadClock = clock;
            cell.ReadSite = site;
            cell.ReadLane = severalLanes ? (short)-1 : (short)lane;
            cell.ReadPhase = phase;
        }
        return -1;
    }

    /// <summary>Records a write; the site of an unordered access, or -1. overlap: another lane of this instruction wrote here too.</summary>
    public int Write(int offset, int size, Warp warp, int lane, int site, long stamp, out bool overlap)
    {
        overlap = false;
        Span<Cell> cells = CellsOf(offset, size);
        int me = warp.GlobalId, clock = warp.Clock, phase = warp.Phase;
        foreach (ref Cell cell in cells)
        {
            if (cell.Writer != 0 && cell.Writer != me && (cell.WriteSite & site & 1) == 0 && !warp.Knows(cell.Writer, cell.WriteClock))
                return cell.WriteSite >> 1;
            if (findsWarpRaces && cell.Writer == me && cell.WriteLane != lane && cell.WritePhase == phase && cell.WriteStamp != stamp && (cell.WriteSite & site & 1) == 0)
                return cell.WriteSite >> 1;
            if (findsWarpRaces && cell.Reader == me && cell.ReadLane != lane && cell.ReadPhase == phase && (cell.ReadSite & site & 1) == 0)
                return cell.ReadSite >> 1;
            if (cell.Reader != 0 && cell.Reader != me && (cell.ReadSite & site & 1) == 0 && !warp.Knows(cell.Reader, cell.ReadClock))
                return cell.ReadSite >> 1;
            if (cell.Reader2 != 0 && cell.Reader2 != me && (cell.ReadSite2 & site & 1) == 0 && !warp.Knows(cell.Reader2, cell.ReadClock2))
                return cell.ReadSite2 >> 1;
            overlap |= cell.Writer == me && cell.WriteStamp == stamp;
            cell = new Cell { Writer = me, WriteClock = clock, WriteSite = site, WriteStamp = stamp, WriteLane = (short)lane, WritePhase = phase };
        }
        return -1;
    }

    private Span<Cell> CellsOf(int offset, int size)
    {
        int granule = BitOperations.Log2((uint)size);
        ref Page? page = ref _pages[offset >> PageBits];
        if (page == null)
            page = new Page(granule);
        else if (page.Granule > granule)
            page.Split(granule);
        int first = (offset & ((1 << PageBits) - 1)) >> page.Granule;
        return page.Cells.AsSpan(first, Math.Max(1, size >> page.Granule));
    }
}
