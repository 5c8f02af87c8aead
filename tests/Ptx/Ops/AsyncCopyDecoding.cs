using System.Numerics;
using TpServe.Ptx.Machine;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Ops;

/// <summary>cp.async and its groups.</summary>
internal static class AsyncCopyDecoding
{
    public static PtxOp? OrNull(Form form)
    {
        if (form.Name != "cp" || !form.Take("async"))
            return null;
        if (form.Take("commit_group"))
        {
            form.Done(0);
            return new WarpOp((warp, mask) => warp.CommitCopies(mask));
        }
        if (form.Take("wait_all"))
        {
            form.Done(0);
            return new WarpOp((warp, mask) => warp.LandCopies(mask, 0, uncommitted: true));
        }
        if (form.Take("wait_group"))
        {
            form.Done(1);
            int latest = (int)form.Constant(0);
            return new WarpOp((warp, mask) => warp.LandCopies(mask, latest, uncommitted: false));
        }
        return Copy(form);
    }

    private static WarpOp Copy(Form form)
    {
        string cache = form.TakeOne("ca", "cg") ?? throw form.Unknown();
        if (form.TakeOne("shared", "shared::cta") == null || !form.Take("global"))
            throw form.Unknown();
        form.TakeStarting("L2::");
        form.Done(3, 4);
        AddressSource to = form.Address(0), from = form.Address(1);
        int size = (int)form.Constant(2);
        if (size is not (4 or 8 or 16) || (cache == "cg" && size != 16))
            throw form.Error($"copies {size} bytes");
        PredicateOperand? ignores = null;
        Source? filled = null;
        if (form.Count > 3 && form.Operands[3].Register?.Type == PtxType.Pred)
            ignores = form.Predicate(3);
        else if (form.Count > 3)
            filled = form.Read(3, PtxType.U32);
        ulong[] targets = new ulong[Warp.Lanes];
        return new WarpOp((warp, mask) =>
        {
            to.Fill(warp, mask);
            warp.Count(Space.Shared, mask, size);
            warp.Addresses.CopyTo(targets, 0);
            from.Fill(warp, mask);
            ReadOnlySpan<ulong> sizes = filled == null ? default : filled.Lanes(warp, mask);
            uint ignored = ignores is { } p ? p.Lanes(warp, mask) & mask : 0, reading = 0;
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                int bytes = (ignored >> lane & 1) != 0 ? 0 : filled == null ? size : (int)sizes[lane];
                if (bytes < 0 || bytes > size)
                    throw warp.Fault(PtxFault.OutOfBounds, lane, $"has a source size of {bytes} bytes of {size}");
                if (bytes > 0)
                    reading |= 1u << lane;
                warp.BeginCopy(lane, targets[lane], Space.Global, warp.Addresses[lane], size, bytes);
            }
            if (reading != 0)
                warp.Count(Space.Global, reading, size);
        });
    }
}
