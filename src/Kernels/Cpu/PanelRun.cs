namespace TpServe.Kernels.Cpu;

/// <summary>Calls of panel kernels: one panel for several tiles of rows.</summary>
internal static unsafe class PanelRun
{
    /// <summary>The call of a panel for <paramref name="tiles"/> tiles, which together prefetch <paramref name="next"/> where it is not null.</summary>
    public static PanelCall New(CpuPackedWeight part, int panel, byte* next, int tiles, ThreadScratch scratch, int thread)
    {
        long visits = (long)part.Plan.Visits.Length * tiles;
        return new PanelCall
        {
            Panel = part.PanelAt(panel),
            Leaves = part.Entries,
            LeafCount = part.Leaves.Count,
            Pieces = part.Leaves.Pieces,
            Stack = scratch.Stack(thread),
            Scratch = scratch.Block(thread),
            Next = next,
            LinesPerBlock = next is null ? 0 : ((part.PanelBytes / 64) + visits - 1) / visits,
        };
    }

    /// <summary>Runs one tile and moves on to what the next one prefetches.</summary>
    public static void Run(CpuPackedWeight part, int rows, int groups, byte* next, ref PanelCall call)
    {
        fixed (PanelCall* pinned = &call)
            part.Kernel.Run(rows, groups, pinned);
        call.Next += call.LinesPerBlock * 64 * part.Plan.Visits.Length;
        if (next is not null && call.Next - next >= part.PanelBytes)
            call.LinesPerBlock = 0;
    }
}
