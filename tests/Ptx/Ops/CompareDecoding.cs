using System.Numerics;
using TpServe.Ptx.Machine;
using static TpServe.Ptx.Ops.Numbers16;

namespace TpServe.Ptx.Ops;

/// <summary>Comparisons and selections.</summary>
internal static class CompareDecoding
{
    public static PtxOp? OrNull(Form form) => form.Name switch
    {
        "setp" => SetPredicate(form),
        "set" => Set(form),
        "selp" => Select(form),
        "slct" => SelectBySign(form),
        "testp" => Test(form),
        _ => null,
    };

    private static WarpOp SetPredicate(Form form)
    {
        (Func<ulong, ulong, bool> compare, string? combine, PtxType type) = Comparison(form);
        form.Done(combine == null ? 3 : 4);
        bool isPair = form.Operands[0].Kind == Text.OperandKind.Pair;
        PredicateOperand p = isPair ? form.Predicate(form.Operands[0].Items[0]) : form.Predicate(0);
        PredicateOperand? q = isPair ? form.Predicate(form.Operands[0].Items[1]) : null;
        Source a = form.Read(1, type), b = form.Read(2, type);
        PredicateOperand? c = combine == null ? null : form.Predicate(3);
        return new WarpOp((warp, mask) =>
        {
            uint result = Compare(warp, mask, a, b, compare), opposite = ~result;
            if (c is { } other)
            {
                uint lanes = other.Lanes(warp, mask);
                result = Combine(combine!, result, lanes);
                opposite = Combine(combine!, opposite, lanes);
            }
            warp.SetPredicate(p.Index, mask, result);
            if (q is { } second)
                warp.SetPredicate(second.Index, mask, opposite);
        });
    }

    private static uint Combine(string how, uint a, uint b) => how switch { "and" => a & b, "or" => a | b, _ => a ^ b };

    private static uint Compare(Warp warp, uint mask, Source a, Source b, Func<ulong, ulong, bool> compare)
    {
        ReadOnlySpan<ulong> x = a.Lanes(warp, mask), y = b.Lanes(warp, mask);
        uint result = 0;
        for (uint rest = mask; rest != 0; rest &= rest - 1)
        {
            int lane = BitOperations.TrailingZeroCount(rest);
            if (compare(x[lane], y[lane]))
                result |= 1u << lane;
        }
        return result;
    }

    private static WarpOp Set(Form form)
    {
        PtxType result = form.Type();
        (Func<ulong, ulong, bool> compare, string? combine, PtxType type) = Comparison(form);
        form.Done(combine == null ? 3 : 4);
        Target target = form.Write(0);
        Source a = form.Read(1, type), b = form.Read(2, type);
        PredicateOperand? c = combine == null ? null : form.Predicate(3);
        ulong yes = result == PtxType.F32 ? Bits(1f) : uint.MaxValue;
        return new WarpOp((warp, mask) =>
        {
            uint lanes = Compare(warp, mask, a, b, compare);
            if (c is { } other)
                lanes = Combine(combine!, lanes, other.Lanes(warp, mask));
            Span<ulong> d = warp.Destination(target.Register, mask);
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                d[lane] = (lanes >> lane & 1) != 0 ? yes : 0;
            }
        });
    }

    private static (Func<ulong, ulong, bool> Compare, string? Combine, PtxType Type) Comparison(Form form)
    {
        string name = form.TakeOne("eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan")
            ?? throw form.Error("has no comparison");
        string? combine = form.TakeOne("and", "or", "xor");
        bool flushes = form.Take("ftz");
        PtxType type = form.Type();
        return (type.IsFloat() ? Floats(name, type, flushes && type == PtxType.F32, form) : Integers(name, type, form), combine, type);
    }

    private static Func<ulong, ulong, bool> Integers(string name, PtxType type, Form form)
    {
        bool isSigned = type.IsSigned();
        // The unsigned names order a .b or .s operand as unsigned too.
        PtxType unsigned = type.Bits() switch { 16 => PtxType.U16, 64 => PtxType.U64, _ => PtxType.U32 };
        return name switch
        {
            "eq" => (a, b) => type.Extend(a) == type.Extend(b),
            "ne" => (a, b) => type.Extend(a) != type.Extend(b),
            "lt" when isSigned => (a, b) => (long)type.Extend(a) < (long)type.Extend(b),
            "le" when isSigned => (a, b) => (long)type.Extend(a) <= (long)type.Extend(b),
            "gt" when isSigned => (a, b) => (long)type.Extend(a) > (long)type.Extend(b),
            "ge" when isSigned => (a, b) => (long)type.Extend(a) >= (long)type.Extend(b),
            "lt" or "lo" => (a, b) => unsigned.Extend(a) < unsigned.Extend(b),
            "le" or "ls" => (a, b) => unsigned.Extend(a) <= unsigned.Extend(b),
            "gt" or "hi" => (a, b) => unsigned.Extend(a) > unsigned.Extend(b),
            "ge" or "hs" => (a, b) => unsigned.Extend(a) >= unsigned.Extend(b),
            _ => throw form.Unknown(),
        };
    }

    private static Func<ulong, ulong, bool> Floats(string name, PtxType type, bool flushes, Form form)
    {
        Func<double, double, bool> compare = name switch
        {
            "eq" => (a, b) => a == b,
            "ne" => (a, b) => a < b || a > b,
            "lt" => (a, b) => a < b,
            "le" => (a, b) => a <= b,
            "gt" => (a, b) => a > b,
            "ge" => (a, b) => a >= b,
            "equ" => (a, b) => !(a < b || a > b),
            "neu" => (a, b) => a != b,
            "ltu" => (a, b) => !(a >= b),
            "leu" => (a, b) => !(a > b),
            "gtu" => (a, b) => !(a <= b),
            "geu" => (a, b) => !(a < b),
            "num" => (a, b) => !double.IsNaN(a) && !double.IsNaN(b),
            "nan" => (a, b) => double.IsNaN(a) || double.IsNaN(b),
            _ => throw form.Unknown(),
        };
        return (a, b) => compare(ToDouble(type, FloatDecoding.Flush(a, flushes)), ToDouble(type, FloatDecoding.Flush(b, flushes)));
    }

    private static WarpOp Select(Form form)
    {
        PtxType type = form.Type();
        form.Done(4);
        Target target = form.Write(0);
        Source a = form.Read(1, type), b = form.Read(2, type);
        PredicateOperand p = form.Predicate(3);
        return new WarpOp((warp, mask) =>
        {
            uint lanes = p.Lanes(warp, mask);
            ReadOnlySpan<ulong> x = a.Lanes(warp, mask), y = b.Lanes(warp, mask);
            Span<ulong> d = warp.Destination(target.Register, mask);
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                d[lane] = ((lanes >> lane & 1) != 0 ? x[lane] : y[lane]) & target.Mask;
            }
        });
    }

    private static TernaryOp SelectBySign(Form form)
    {
        form.Take("ftz");
        PtxType type = form.Type(), by = form.Type();
        form.Done(4);
        Func<ulong, bool> isPositive = by == PtxType.F32 ? c => Single(c) >= 0 : c => (int)c >= 0;
        return new TernaryOp(form.Write(0), form.Read(1, type), form.Read(2, type), form.Read(3, by), (a, b, c) => isPositive(c) ? a : b);
    }

    private static WarpOp Test(Form form)
    {
        string what = form.TakeOne("finite", "infinite", "number", "notanumber", "normal", "subnormal") ?? throw form.Unknown();
        PtxType type = form.Type();
        form.Done(2);
        PredicateOperand p = form.Predicate(0);
        Source a = form.Read(1, type);
        Func<ulong, ulong, bool> test = (bits, _) =>
        {
            double value = ToDouble(type, bits);
            bool isSubnormal = type == PtxType.F32 ? float.IsSubnormal(Single(bits)) : double.IsSubnormal(value);
            return what switch
            {
                "finite" => double.IsFinite(value),
                "infinite" => double.IsInfinity(value),
                "number" => !double.IsNaN(value),
                "notanumber" => double.IsNaN(value),
                "normal" => double.IsFinite(value) && value != 0 && !isSubnormal,
                _ => isSubnormal,
            };
        };
        return new WarpOp((warp, mask) => warp.SetPredicate(p.Index, mask, Compare(warp, mask, a, a, test)));
    }
}
