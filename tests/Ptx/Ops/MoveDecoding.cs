using System.Numerics;
using TpServe.Ptx.Machine;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Ops;

/// <summary>mov, cvta, and instructions without effect here.</summary>
internal static class MoveDecoding
{
    public static PtxOp? OrNull(Form form)
    {
        switch (form.Name)
        {
            case "mov":
                return Move(form);
            case "cvta":
                return ConvertAddress(form);
            case "isspacep":
                return IsSpace(form);
            case "prefetch" or "prefetchu":
                form.TakeAll("global", "local", "L1", "L2", "tensormap");
                form.TakeStarting("L2::");
                form.Done(1);
                form.Address(0);
                return new WarpOp((_, _) => { });
            case "nanosleep":
                form.Type();
                form.Done(1);
                return new WarpOp((warp, _) => warp.Yield());
            case "pmevent":
                return new WarpOp((_, _) => { });
            default:
                return null;
        }
    }

    private static PtxOp Move(Form form)
    {
        PtxType type = form.Type();
        form.Done(2);
        if (type == PtxType.Pred)
        {
            PredicateOperand d = form.Predicate(0), a = form.Predicate(1);
            return new WarpOp((warp, mask) => warp.SetPredicate(d.Index, mask, a.Lanes(warp, mask)));
        }
        if (form.Operands[1].Kind == OperandKind.Vector)
            return Pack(form, type);
        if (form.Operands[0].Kind == OperandKind.Vector)
            return Unpack(form, type);
        return new UnaryOp(form.Write(0), form.Read(1, type), a => a);
    }

    private static WarpOp Pack(Form form, PtxType type)
    {
        Operand[] items = form.Items(1);
        int bits = type.Bits() / items.Length;
        ulong part = bits == 64 ? ulong.MaxValue : (1UL << bits) - 1;
        Target target = form.Write(0);
        PtxType element = Unsigned(bits);
        Source[] sources = [.. items.Select(item => form.Read(item, element))];
        return new WarpOp((warp, mask) =>
        {
            Span<ulong> packed = stackalloc ulong[Warp.Lanes];
            for (int i = 0; i < sources.Length; i++)
            {
                ReadOnlySpan<ulong> lanes = sources[i].Lanes(warp, mask);
                for (int lane = 0; lane < packed.Length; lane++)
                    packed[lane] |= (lanes[lane] & part) << (i * bits);
            }
            Span<ulong> d = warp.Destination(target.Register, mask);
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                d[lane] = packed[lane];
            }
        });
    }

    private static WarpOp Unpack(Form form, PtxType type)
    {
        Operand[] items = form.Items(0);
        int bits = type.Bits() / items.Length;
        ulong part = bits == 64 ? ulong.MaxValue : (1UL << bits) - 1;
        Target[] targets = [.. items.Select(form.Write)];
        Source source = form.Read(1, type);
        return new WarpOp((warp, mask) =>
        {
            // A copy: the source may be one of the targets.
            Span<ulong> lanes = stackalloc ulong[Warp.Lanes];
            source.Lanes(warp, mask).CopyTo(lanes);
            for (int i = 0; i < targets.Length; i++)
            {
                Span<ulong> d = warp.Destination(targets[i].Register, mask);
                for (uint rest = mask; rest != 0; rest &= rest - 1)
                {
                    int lane = BitOperations.TrailingZeroCount(rest);
                    d[lane] = lanes[lane] >> (i * bits) & part;
                }
            }
        });
    }

    private static PtxType Unsigned(int bits) => bits switch { 8 => PtxType.U8, 16 => PtxType.U16, 32 => PtxType.U32, _ => PtxType.U64 };

    private static UnaryOp ConvertAddress(Form form)
    {
        bool toSpace = form.Take("to");
        Space space = form.Space();
        PtxType type = form.Type();
        form.Done(2);
        ulong window = space switch { Space.Shared => Launch.SharedWindow, Space.Local => Launch.LocalWindow, _ => 0 };
        return new UnaryOp(form.Write(0), form.Read(1, type), toSpace ? a => a - window : a => a + window);
    }

    private static WarpOp IsSpace(Form form)
    {
        Space space = form.Space();
        form.Done(2);
        PredicateOperand p = form.Predicate(0);
        Source a = form.Read(1, PtxType.U64);
        return new WarpOp((warp, mask) =>
        {
            ReadOnlySpan<ulong> lanes = a.Lanes(warp, mask);
            uint result = 0;
            for (int lane = 0; lane < lanes.Length; lane++)
            {
                Space actual = lanes[lane] - Launch.SharedWindow < Launch.WindowBytes ? Space.Shared
                    : lanes[lane] - Launch.LocalWindow < Launch.WindowBytes ? Space.Local
                    : Space.Global;
                if (actual == space)
                    result |= 1u << lane;
            }
            warp.SetPredicate(p.Index, mask, result);
        });
    }
}
