using System.Numerics;
using TpServe.Ptx.Machine;

namespace TpServe.Ptx.Memory;

/// <summary>The last accesses of a few bytes: the writer and the two latest readers of different warps, each with its clock and site.</summary>
/// <remarks>
/// Ids are Warp.GlobalId, 0 = nobody. A site is the instruction's number · 4 + the access's Strength.
/// </remarks>
internal struct Cell
{
    public int Writer, WriteClock, WriteSite;
    public int Reader, ReadClock, ReadSite;
    public int Reader2, ReadClock2, ReadSite2;

    /// <summary>The lanes of the writer and of the latest reader, -1 for several, and the warp's phase then: between barriers of the warp.</summary>
    public short WriteLane, ReadLane;

    public int WritePhase, ReadPhase;

    /// <summary>1 + the site of a read through the read-only path (.nc), 0 without one.</summary>
    public int ConstantReadSite;

    /// <summary>The number of the executed instruction that wrote: two lanes of one instruction are told by it.</summary>
    public long WriteStamp;
}

/// <summary>How far an access is strong: not at all, or among the threads of a block, of a device, of the system.</summary>
internal enum Strength
{
    Weak, Block, Device, System,
}

/// <summary>The accesses of one launch to one region, to find unordered ones.</summary>
/// <remarks>
/// Numerics a race is two accesses that overlap, at least one a write, not both strong for each other, and neither ordered before the other by
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
    /// <remarks>Bytes read through the read-only path may not be written in the launch at all, by whomever.</remarks>
    public int Read(int offset, int size, Warp warp, int lane, int site, bool isConstant)
    {
        Span<Cell> cells = CellsOf(offset, size);
        int me = warp.GlobalId, clock = warp.Clock, phase = warp.Phase;
        foreach (ref Cell cell in cells)
        {
            if (cell.Writer != 0 && (isConstant || IsRace(cell.Writer, cell.WriteClock, cell.WriteSite, warp, site)))
                return cell.WriteSite >> 2;
            if (findsWarpRaces && cell.Writer == me && cell.WriteLane != lane && cell.WritePhase == phase && Math.Min(cell.WriteSite & 3, site & 3) == 0)
                return cell.WriteSite >> 2;
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
            if (isConstant)
                cell.ConstantReadSite = site + 1;
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
            if (cell.ConstantReadSite != 0)
                return (cell.ConstantReadSite - 1) >> 2;
            if (IsRace(cell.Writer, cell.WriteClock, cell.WriteSite, warp, site))
                return cell.WriteSite >> 2;
            if (IsRace(cell.Reader, cell.ReadClock, cell.ReadSite, warp, site))
                return cell.ReadSite >> 2;
            if (IsRace(cell.Reader2, cell.ReadClock2, cell.ReadSite2, warp, site))
                return cell.ReadSite2 >> 2;
            if (findsWarpRaces && cell.Writer == me && cell.WriteLane != lane && cell.WritePhase == phase && cell.WriteStamp != stamp && Math.Min(cell.WriteSite & 3, site & 3) == 0)
                return cell.WriteSite >> 2;
            if (findsWarpRaces && cell.Reader == me && cell.ReadLane != lane && cell.ReadPhase == phase && Math.Min(cell.ReadSite & 3, site & 3) == 0)
                return cell.ReadSite >> 2;
            overlap |= cell.Writer == me && cell.WriteStamp == stamp;
            cell = new Cell { Writer = me, WriteClock = clock, WriteSite = site, WriteStamp = stamp, WriteLane = (short)lane, WritePhase = phase };
        }
        return -1;
    }

    /// <summary>Whether an earlier access of another warp has no order to this one, and one of the two is too weak for the other.</summary>
    private static bool IsRace(int other, int clock, int otherSite, Warp warp, int site) =>
        other != 0 && other != warp.GlobalId && !warp.Knows(other, clock) && Math.Min(otherSite & 3, site & 3) < (int)warp.Between(other);

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
