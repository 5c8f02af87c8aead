using System.Numerics;
using TpServe.Ptx.Machine;

namespace TpServe.Ptx.Ops;

/// <summary>Barriers of the block and of the warp.</summary>
internal static class BarrierDecoding
{
    public static PtxOp? OrNull(Form form)
    {
        if (form.Name is not ("bar" or "barrier"))
            return null;
        if (form.Take("warp"))
        {
            form.Take("sync");
            form.Done(1);
            Source members = form.Read(0, PtxType.B32);
            return new WarpOp((warp, mask) =>
            {
                WarpDecoding.Members(warp, mask, members);
                warp.NextPhase();
            });
        }
        bool isAligned = form.Name == "bar" | form.Take("aligned");
        form.Take("cta");
        string kind = form.TakeOne("sync", "arrive", "red") ?? throw form.Unknown();
        if (kind != "red")
        {
            form.Done(1, 2);
            return new BarrierOp(kind == "arrive", isAligned, form.Read(0, PtxType.U32), form.Count > 1 ? form.Read(1, PtxType.U32) : null, null, null, "", null);
        }
        string reduction = form.TakeOne("popc", "and", "or") ?? throw form.Unknown();
        PtxType type = form.Type();
        form.Done(3, 4);
        Source? count = form.Count > 3 ? form.Read(2, PtxType.U32) : null;
        PredicateOperand value = form.Predicate(form.Count - 1);
        return type == PtxType.Pred
            ? new BarrierOp(false, isAligned, form.Read(1, PtxType.U32), count, value, form.Predicate(0), reduction, null)
            : new BarrierOp(false, isAligned, form.Read(1, PtxType.U32), count, value, null, reduction, form.Write(0));
    }
}

/// <summary>bar.sync, bar.arrive and bar.red.</summary>
internal sealed class BarrierOp(
    bool onlyArrives, bool isAligned, Source barrier, Source? count, PredicateOperand? value, PredicateOperand? predicate, string reduction, Target? target) : PtxOp
{
    public bool OnlyArrives => onlyArrives;

    /// <summary>The number of threads it names, null for all.</summary>
    public Source? Count => count;

    public override void Execute(Warp warp, uint mask)
    {
        if (isAligned)
            warp.RequireWhole(mask);
        int lane = BitOperations.TrailingZeroCount(mask);
        uint values = value is { } operand ? operand.Lanes(warp, mask) : 0;
        int threads = count == null ? 0 : (int)count.Lanes(warp, mask)[lane];
        if (threads % Warp.Lanes != 0)
            throw warp.Fault(PtxFault.Launch, mask, $"names {threads} threads, no multiple of 32");
        warp.Block.Arrive(warp, this, mask, (int)barrier.Lanes(warp, mask)[lane], threads, values);
    }

    /// <summary>Writes the reduction's result when the barrier is complete.</summary>
    public void Finish(Warp warp, uint mask, int trues, int threads)
    {
        if (target is { } d)
        {
            Span<ulong> lanes = warp.Destination(d.Register, mask);
            foreach (int lane in LaneMask.Lanes(mask))
                lanes[lane] = (ulong)trues;
        }
        else if (predicate is { } p)
            warp.SetPredicate(p.Index, mask, (reduction == "and" ? trues == threads : trues > 0) ? uint.MaxValue : 0);
    }
}
