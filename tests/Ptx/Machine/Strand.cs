using TpServe.Ptx.Ops;

namespace TpServe.Ptx.Machine;

/// <summary>Lanes of a warp that went different ways at a branch and meet again at Pc, the branch's immediate post-dominator.</summary>
internal sealed class Meeting(int pc, uint expected, Meeting? outer)
{
    public int Pc { get; } = pc;
    public Meeting? Outer { get; } = outer;
    public uint Expected { get; set; } = expected;
    public uint Arrived { get; set; }
}

/// <summary>A call in progress.</summary>
internal sealed record Frame(int ReturnPc, CallOp Call, Frame? Outer);

/// <summary>Lanes of a warp that run together.</summary>
internal sealed class Strand(int pc, uint mask, Meeting? meeting, Frame? calls)
{
    public int Pc { get; set; } = pc;
    public uint Mask { get; set; } = mask;
    public Meeting? Meeting { get; set; } = meeting;
    public Frame? Calls { get; set; } = calls;

    /// <summary>It stands at a barrier of the block.</summary>
    public bool Waits { get; set; }

    /// <summary>It has met others or ended; another strand goes on.</summary>
    public bool IsGone { get; set; }
}
