using System.Numerics;
using TpServe.Ptx.Machine;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Ops;

/// <summary>An instruction that chooses among several next ones.</summary>
internal interface IBranch
{
    IReadOnlyList<int> Targets { get; }

    /// <summary>Where parted lanes meet, -1 where the function ends first.</summary>
    int MeetingPc { get; set; }
}

/// <summary>bra.</summary>
internal sealed class BranchOp(int target, bool isUniform) : PtxOp, IBranch
{
    public IReadOnlyList<int> Targets { get; } = [target];
    public int MeetingPc { get; set; } = -1;

    public override void Execute(Warp warp, uint mask)
    {
        // ILGPU marks branches of its loops around cas as uniform that are not, so this is counted and no error.
        if (isUniform && mask != warp.Current.Mask)
            warp.Launch.DividedUniformBranches++;
        warp.Branch(mask, target, MeetingPc);
    }
}

/// <summary>brx.idx: each lane picks its label from a list.</summary>
internal sealed class IndexedBranchOp(Source index, int[] targets) : PtxOp, IBranch
{
    public IReadOnlyList<int> Targets => targets;
    public int MeetingPc { get; set; } = -1;

    public override void Execute(Warp warp, uint mask)
    {
        ReadOnlySpan<ulong> lanes = index.Lanes(warp, mask);
        Span<uint> takers = stackalloc uint[targets.Length];
        for (uint rest = mask; rest != 0; rest &= rest - 1)
        {
            int lane = BitOperations.TrailingZeroCount(rest);
            uint chosen = (uint)lanes[lane];
            if (chosen >= targets.Length)
                throw warp.Fault(PtxFault.OutOfBounds, lane, $"takes way {chosen} of {targets.Length}");
            takers[(int)chosen] |= 1u << lane;
        }
        // The ways part one after the other; the last one takes the running strand itself.
        for (int i = 0; i < targets.Length; i++)
            if (takers[i] != 0)
                warp.Branch(takers[i], targets[i], MeetingPc);
    }
}

/// <summary>ret of a kernel, and exit.</summary>
internal sealed class ExitOp : PtxOp
{
    public override void Execute(Warp warp, uint mask) => warp.Exit(mask);
}

/// <summary>trap and brkpt.</summary>
internal sealed class TrapOp(string name) : PtxOp
{
    public override void Execute(Warp warp, uint mask) => throw warp.Fault(PtxFault.Trap, mask, $"reaches {name}");
}

/// <summary>call: copies the parameters' bytes and enters the function.</summary>
internal sealed class CallOp : PtxOp
{
    public string Name { get; set; } = "";
    public int Start { get; set; }
    public (Symbol Actual, Symbol Formal)[] Arguments { get; set; } = [];
    public (Symbol Formal, Symbol Actual)[] Results { get; set; } = [];

    public override void Execute(Warp warp, uint mask)
    {
        if (Start < 0)
            throw warp.Fault(PtxFault.Trap, mask, $"calls {Name}, which has no body");
        Strand strand = warp.Current;
        if (mask != strand.Mask)
            throw warp.Fault(PtxFault.UnknownInstruction, mask, "makes a predicated call, which the interpreter does not have");
        for (Frame? frame = strand.Calls; frame != null; frame = frame.Outer)
            if (frame.Call.Start == Start)
                throw warp.Fault(PtxFault.UnknownInstruction, mask, $"calls {Name} recursively, which the interpreter does not have");
        foreach ((Symbol actual, Symbol formal) in Arguments)
            Copy(warp, mask, actual, formal);
        strand.Calls = new Frame(strand.Pc, this, strand.Calls);
        strand.Pc = Start;
    }

    public static void Copy(Warp warp, uint mask, Symbol from, Symbol to)
    {
        int bytes = Math.Min(from.Bytes, to.Bytes), stride = warp.Launch.Program.ParameterBytes;
        for (uint rest = mask; rest != 0; rest &= rest - 1)
        {
            int lane = BitOperations.TrailingZeroCount(rest);
            warp.Parameters.AsSpan(lane * stride + from.Offset, bytes).CopyTo(warp.Parameters.AsSpan(lane * stride + to.Offset));
        }
    }
}

/// <summary>The end of a function: every ret of it branches here, so the lanes have met.</summary>
internal sealed class ReturnOp : PtxOp
{
    public override void Execute(Warp warp, uint mask)
    {
        Strand strand = warp.Current;
        Frame frame = strand.Calls!;
        foreach ((Symbol formal, Symbol actual) in frame.Call.Results)
            CallOp.Copy(warp, mask, formal, actual);
        strand.Calls = frame.Outer;
        strand.Pc = frame.ReturnPc;
    }
}
