using System.Numerics;
using TpServe.Ptx.Memory;
using TpServe.Ptx.Ops;

namespace TpServe.Ptx.Machine;

/// <summary>32 threads in lockstep: registers, the strands they have split into, and what the warp knows of others.</summary>
/// <remarks>
/// Source   divergence: lanes that part at a branch meet at its immediate post-dominator, as compiled code does on cards since Volta;
///          between the parts the scheduler chooses freely; a part that waits for lanes already at the meeting point never ends.
/// </remarks>
internal sealed partial class Warp
{
    public const int Lanes = 32;

    private readonly List<Strand> _strands = [];
    private bool _yields;

    public Warp(Block block, int id, int threads)
    {
        Block = block;
        Launch = block.Launch;
        Id = id;
        GlobalId = block.Id * Block.MostWarps + id + 1;
        Live = threads >= Lanes ? uint.MaxValue : (1u << threads) - 1;
        Registers = new ulong[Launch.Program.RegisterCount * Lanes];
        Written = new uint[Launch.Program.RegisterCount];
        Predicates = new uint[Launch.Program.PredicateCount];
        PredicatesWritten = new uint[Launch.Program.PredicateCount];
        Parameters = new byte[Launch.Program.ParameterBytes * Lanes];
        _own = new int[block.WarpCount];
        _own[id] = 1;
        (int x, int y, _) = Launch.BlockSize;
        Threads = new (int X, int Y, int Z)[Lanes];
        for (int lane = 0; lane < Lanes; lane++)
        {
            int thread = id * Lanes + lane;
            Threads[lane] = (thread % x, thread / x % y, thread / (x * y));
        }
        Current = new Strand(Launch.Entry, Live, null, null);
        _strands.Add(Current);
    }

    public Launch Launch { get; }
    public Block Block { get; }
    public int Id { get; }

    /// <summary>1 + block · 32 + warp, over all launches that run together.</summary>
    public int GlobalId { get; }

    /// <summary>The lanes that have not ended.</summary>
    public uint Live { get; private set; }

    /// <summary>Registers, 32 lanes each; a value is zero-extended from the register's width.</summary>
    public ulong[] Registers { get; }

    /// <summary>For each register the lanes that have written it.</summary>
    public uint[] Written { get; }

    /// <summary>Predicates, one bit a lane.</summary>
    public uint[] Predicates { get; }

    public uint[] PredicatesWritten { get; }

    /// <summary>The .param variables of calls, lane after lane.</summary>
    public byte[] Parameters { get; }

    public Strand Current { get; private set; }
    public PtxOp CurrentOp { get; private set; } = null!;
    public bool IsDone => Live == 0;

    public bool CanRun
    {
        get
        {
            foreach (Strand strand in _strands)
                if (!strand.Waits)
                    return true;
            return false;
        }
    }

    /// <summary>The place in the block of each lane's thread.</summary>
    public (int X, int Y, int Z)[] Threads { get; }

    /// <summary>Runs one strand for at most this many instructions; it stops earlier where it waits, parts, meets or yields.</summary>
    public void Run(int instructions, Random random)
    {
        Strand strand = Choose(random);
        Current = strand;
        _yields = false;
        PtxOp[] code = Launch.Program.Code;
        LaunchCounts counts = Launch.Counts;
        while (instructions-- > 0 && !_yields && !strand.Waits && !strand.IsGone)
        {
            if (++Launch.Together.Executed > Launch.Together.Budget)
                throw Launch.Together.OverBudget();
            PtxOp op = code[strand.Pc];
            CurrentOp = op;
            uint mask = strand.Mask;
            if (op.Guard >= 0)
                mask &= Predicate(op.Guard, op.GuardNegated, mask);
            strand.Pc++;
            counts.Count(op.Index, BitOperations.PopCount(mask));
            if (mask != 0)
                op.Execute(this, mask);
            if (strand.Meeting != null && !strand.IsGone && strand.Pc == strand.Meeting.Pc && !strand.Waits)
                Meet(strand);
        }
    }

    public uint Predicate(int index, bool negated, uint mask)
    {
        if ((PredicatesWritten[index] & mask) != mask)
            throw Fault(PtxFault.Uninitialised, mask & ~PredicatesWritten[index], "reads a predicate before it is written");
        return negated ? ~Predicates[index] : Predicates[index];
    }

    public void SetPredicate(int index, uint mask, uint values)
    {
        Predicates[index] = (Predicates[index] & ~mask) | (values & mask);
        PredicatesWritten[index] |= mask;
    }

    /// <summary>The 32 lanes of a register to write; the lanes of mask count as written.</summary>
    public Span<ulong> Destination(int register, uint mask)
    {
        Written[register] |= mask;
        return Registers.AsSpan(register * Lanes, Lanes);
    }

    /// <summary>The running strand leaves the processor after this instruction.</summary>
    public void Yield() => _yields = true;

    /// <summary>The lanes of taken go to target, the others fall through; they meet at meetingPc (-1: never).</summary>
    public void Branch(uint taken, int target, int meetingPc)
    {
        Strand strand = Current;
        if (taken == strand.Mask)
        {
            strand.Pc = target;
            return;
        }
        Meeting? meeting = strand.Meeting;
        if (meetingPc >= 0 && meeting?.Pc != meetingPc)
            meeting = new Meeting(meetingPc, strand.Mask, meeting);
        Strand other = new(target, taken, meeting, strand.Calls);
        strand.Mask &= ~taken;
        strand.Meeting = meeting;
        _strands.Add(other);
        if (meeting != null && other.Pc == meeting.Pc)
            Meet(other);
    }

    public void Exit(uint lanes)
    {
        Strand strand = Current;
        Live &= ~lanes;
        strand.Mask &= ~lanes;
        if (strand.Mask == 0)
            Remove(strand);
        for (Meeting? meeting = strand.Meeting; meeting != null; meeting = meeting.Outer)
            meeting.Expected &= ~lanes;
        for (Meeting? meeting = strand.Meeting; meeting != null; meeting = meeting.Outer)
            if (meeting.Expected != 0 && meeting.Arrived == meeting.Expected)
                Merge(meeting, strand.Calls);
        Block.Recheck();
    }

    /// <summary>The running strand must be all the live lanes of the warp, as .aligned instructions demand.</summary>
    public void RequireWhole(uint mask)
    {
        if (mask != Live)
            throw Fault(PtxFault.Divergent, Live & ~mask, $"stands elsewhere while lanes {mask:x8} of its warp execute this instruction of the whole warp");
    }

    /// <summary>The executing lanes must be those the instruction names.</summary>
    public void RequireMembers(uint mask, uint members)
    {
        if (mask != (members & Live))
            throw Fault(PtxFault.Divergent, mask ^ (members & Live), $"is in the member mask or executes this instruction, not both (members {members:x8}, executing {mask:x8})");
    }

    public PtxException Fault(PtxFault fault, uint lanes, string what) => Fault(fault, BitOperations.TrailingZeroCount(lanes == 0 ? 1u : lanes), what);

    public PtxException Fault(PtxFault fault, int lane, string what) =>
        new(fault, $"{Launch.KernelName}, {CurrentOp}: block {Block.Position}, thread {Threads[lane]} {what}.");

    /// <summary>Where each strand stands, for messages.</summary>
    public IEnumerable<string> Places() => _strands.Select(strand =>
        $"{Launch.KernelName} block {Block.Position} warp {Id} lanes {strand.Mask:x8}{(strand.Waits ? " waits at" : " at")} {Launch.Program.Code[strand.Waits ? strand.Pc - 1 : strand.Pc]}");

    private Strand Choose(Random random)
    {
        if (_strands.Count == 1)
            return _strands[0];
        int start = random.Next(_strands.Count);
        for (int i = 0; i < _strands.Count; i++)
        {
            Strand strand = _strands[(start + i) % _strands.Count];
            if (!strand.Waits)
                return strand;
        }
        throw new InvalidOperationException("No strand can run.");
    }

    /// <summary>A strand released from a barrier may stand at its meeting point.</summary>
    public void MeetAfterBarrier(Strand strand)
    {
        if (strand.Meeting != null && strand.Pc == strand.Meeting.Pc)
            Meet(strand);
    }

    private void Meet(Strand strand)
    {
        Meeting meeting = strand.Meeting!;
        meeting.Arrived |= strand.Mask;
        Remove(strand);
        if (meeting.Arrived == meeting.Expected)
            Merge(meeting, strand.Calls);
    }

    private void Merge(Meeting meeting, Frame? calls)
    {
        Strand whole = new(meeting.Pc, meeting.Expected, meeting.Outer, calls);
        meeting.Expected = 0;
        _strands.Add(whole);
        if (whole.Meeting != null && whole.Pc == whole.Meeting.Pc)
            Meet(whole);
    }

    private void Remove(Strand strand)
    {
        strand.IsGone = true;
        _strands.Remove(strand);
    }
}
