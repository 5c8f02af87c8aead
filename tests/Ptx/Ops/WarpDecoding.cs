using System.Numerics;
using TpServe.Ptx.Machine;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Ops;

/// <summary>Shuffles, votes, matches and reductions of a warp.</summary>
internal static class WarpDecoding
{
    /// <summary>What a shuffle gives from a lane that does not execute it: on a card unspecified, here a not-a-number that is no small integer.</summary>
    private const uint Unspecified = 0x7fde_adbe;

    public static PtxOp? OrNull(Form form)
    {
        switch (form.Name)
        {
            case "shfl":
                return Shuffle(form);
            case "vote":
                return Vote(form);
            case "activemask":
                form.Type();
                form.Done(1);
                Target target = form.Write(0);
                return new WarpOp((warp, mask) => Fill(warp, mask, target, mask));
            case "match":
                return Match(form);
            case "redux":
                return Reduce(form);
            case "elect":
                return Elect(form);
            default:
                return null;
        }
    }

    /// <summary>Checks that the executing lanes are the members; returns them.</summary>
    public static uint Members(Warp warp, uint mask, Source members)
    {
        uint named = (uint)members.Lanes(warp, mask)[BitOperations.TrailingZeroCount(mask)];
        warp.RequireMembers(mask, named);
        return named;
    }

    private static void Fill(Warp warp, uint mask, Target target, ulong value)
    {
        Span<ulong> d = warp.Destination(target.Register, mask);
        for (uint rest = mask; rest != 0; rest &= rest - 1)
            d[BitOperations.TrailingZeroCount(rest)] = value;
    }

    private static void RequireSync(Form form)
    {
        if (!form.Take("sync"))
            throw form.Unknown();
    }

    private static WarpOp Shuffle(Form form)
    {
        RequireSync(form);
        string mode = form.TakeOne("up", "down", "bfly", "idx") ?? throw form.Unknown();
        form.Type();
        form.Done(5);
        bool isPair = form.Operands[0].Kind == OperandKind.Pair;
        Target target = form.Write(isPair ? form.Operands[0].Items[0] : form.Operands[0]);
        PredicateOperand? valid = isPair ? form.Predicate(form.Operands[0].Items[1]) : null;
        Source a = form.Read(1, PtxType.B32), b = form.Read(2, PtxType.B32), c = form.Read(3, PtxType.B32), members = form.Read(4, PtxType.B32);
        return new WarpOp((warp, mask) =>
        {
            Members(warp, mask, members);
            Span<ulong> values = stackalloc ulong[Warp.Lanes];
            a.Lanes(warp, mask).CopyTo(values);
            ReadOnlySpan<ulong> shifts = b.Lanes(warp, mask), clamps = c.Lanes(warp, mask);
            uint inRange = 0;
            Span<ulong> result = stackalloc ulong[Warp.Lanes];
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                (int from, bool isValid) = SourceLane(mode, lane, (int)shifts[lane] & 31, (int)clamps[lane]);
                if (isValid)
                    inRange |= 1u << lane;
                result[lane] = (mask >> from & 1) != 0 ? (uint)values[from] : Unspecified;
            }
            Span<ulong> d = warp.Destination(target.Register, mask);
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                d[lane] = result[lane];
            }
            if (valid is { } p)
                warp.SetPredicate(p.Index, mask, inRange);
        });
    }

    private static (int Lane, bool IsValid) SourceLane(string mode, int lane, int shift, int clampAndMask)
    {
        int clamp = clampAndMask & 31, segment = clampAndMask >> 8 & 31;
        int highest = (lane & segment) | (clamp & ~segment), lowest = lane & segment;
        (int from, bool isValid) = mode switch
        {
            "up" => (lane - shift, lane - shift >= highest),
            "down" => (lane + shift, lane + shift <= highest),
            "bfly" => (lane ^ shift, (lane ^ shift) <= highest),
            _ => (lowest | (shift & ~segment), (lowest | (shift & ~segment)) <= highest),
        };
        return isValid ? (from, true) : (lane, false);
    }

    private static WarpOp Vote(Form form)
    {
        RequireSync(form);
        string mode = form.TakeOne("all", "any", "uni", "ballot") ?? throw form.Unknown();
        form.Type();
        form.Done(3);
        PredicateOperand a = form.Predicate(1);
        Source members = form.Read(2, PtxType.B32);
        if (mode == "ballot")
        {
            Target target = form.Write(0);
            return new WarpOp((warp, mask) =>
            {
                Members(warp, mask, members);
                Fill(warp, mask, target, a.Lanes(warp, mask) & mask);
            });
        }
        PredicateOperand p = form.Predicate(0);
        return new WarpOp((warp, mask) =>
        {
            Members(warp, mask, members);
            uint lanes = a.Lanes(warp, mask) & mask;
            bool result = mode switch { "all" => lanes == mask, "any" => lanes != 0, _ => lanes == 0 || lanes == mask };
            warp.SetPredicate(p.Index, mask, result ? uint.MaxValue : 0);
        });
    }

    private static WarpOp Match(Form form)
    {
        string mode = form.TakeOne("any", "all") ?? throw form.Unknown();
        RequireSync(form);
        PtxType type = form.Type();
        form.Done(3);
        bool isPair = form.Operands[0].Kind == OperandKind.Pair;
        Target target = form.Write(isPair ? form.Operands[0].Items[0] : form.Operands[0]);
        PredicateOperand? all = isPair ? form.Predicate(form.Operands[0].Items[1]) : null;
        Source a = form.Read(1, type), members = form.Read(2, PtxType.B32);
        return new WarpOp((warp, mask) =>
        {
            Members(warp, mask, members);
            ulong[] values = a.Lanes(warp, mask).ToArray();
            Span<ulong> d = warp.Destination(target.Register, mask);
            uint whole = 0;
            foreach (int lane in LaneMask.Lanes(mask))
            {
                uint same = 0;
                foreach (int other in LaneMask.Lanes(mask))
                    if (((values[lane] ^ values[other]) & type.Mask()) == 0)
                        same |= 1u << other;
                whole |= same == mask ? 1u << lane : 0;
                d[lane] = mode == "any" ? same : same == mask ? mask : 0;
            }
            if (all is { } p)
                warp.SetPredicate(p.Index, mask, whole);
        });
    }

    private static WarpOp Reduce(Form form)
    {
        RequireSync(form);
        string name = form.TakeOne("add", "min", "max", "and", "or", "xor") ?? throw form.Unknown();
        PtxType type = form.Type();
        form.Done(3);
        Target target = form.Write(0);
        Source a = form.Read(1, type), members = form.Read(2, PtxType.B32);
        Func<long, long, long> f = name switch
        {
            "add" => (x, y) => x + y,
            "min" => Math.Min,
            "max" => Math.Max,
            "and" => (x, y) => x & y,
            "or" => (x, y) => x | y,
            _ => (x, y) => x ^ y,
        };
        return new WarpOp((warp, mask) =>
        {
            Members(warp, mask, members);
            ReadOnlySpan<ulong> lanes = a.Lanes(warp, mask);
            long? result = null;
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                long value = (long)type.Extend(lanes[BitOperations.TrailingZeroCount(rest)]);
                result = result is { } sofar ? f(sofar, value) : value;
            }
            Fill(warp, mask, target, (ulong)result!.Value & target.Mask);
        });
    }

    private static WarpOp Elect(Form form)
    {
        RequireSync(form);
        form.Done(2);
        if (form.Operands[0].Kind != OperandKind.Pair)
            throw form.Error("needs d|p");
        Target target = form.Write(form.Operands[0].Items[0]);
        PredicateOperand p = form.Predicate(form.Operands[0].Items[1]);
        Source members = form.Read(1, PtxType.B32);
        return new WarpOp((warp, mask) =>
        {
            Members(warp, mask, members);
            int leader = BitOperations.TrailingZeroCount(mask);
            Fill(warp, mask, target, (ulong)leader);
            warp.SetPredicate(p.Index, mask, 1u << leader);
        });
    }
}
