using System.Numerics;

namespace TpServe.Ptx.Ops;

/// <summary>Integer arithmetic, logic and bits.</summary>
internal static class IntegerDecoding
{
    private static readonly string[] WithFloatForms = ["add", "sub", "mul", "div", "min", "max", "abs", "neg", "mad"];

    public static PtxOp? OrNull(Form form)
    {
        switch (form.Name)
        {
            case "add" or "sub" or "div" or "rem" or "min" or "max" or "mul" or "mad" or "abs" or "neg" or "mul24" or "mad24" or "sad":
                if (IsFloatForm(form))
                    return null;
                return Arithmetic(form);
            case "and" or "or" or "xor" or "shl" or "shr" or "not" or "cnot":
                return Logic(form);
            case "bfe" or "bfi" or "bfind" or "prmt" or "popc" or "clz" or "brev" or "lop3" or "shf" or "dp4a" or "dp2a":
                return Bits(form);
            default:
                return null;
        }
    }

    private static bool IsFloatForm(Form form)
    {
        if (!WithFloatForms.Contains(form.Name))
            return false;
        string type = form.Source.Opcode[(form.Source.Opcode.LastIndexOf('.') + 1)..];
        return PtxTypes.TryParse(type, out PtxType parsed) && parsed.IsFloat();
    }

    private static PtxOp Arithmetic(Form form)
    {
        PtxType type = form.Type();
        string? part = form.TakeOne("lo", "hi", "wide");
        bool saturates = form.Take("sat");
        if (saturates && type != PtxType.S32)
            throw form.Unknown();
        switch (form.Name)
        {
            case "abs" or "neg":
                form.Done(2);
                bool isAbs = form.Name == "abs";
                return new UnaryOp(form.Write(0), form.Read(1, type), a => (ulong)(isAbs && (long)type.Extend(a) >= 0 ? (long)type.Extend(a) : -(long)type.Extend(a)));
            case "mad" or "mad24" or "sad":
                form.Done(4);
                PtxType wide = part == "wide" ? Wide(type) : type;
                return new TernaryOp(form.Write(0), form.Read(1, type), form.Read(2, type), form.Read(3, wide), Ternary(form, type, part, saturates));
            default:
                form.Done(3);
                return new BinaryOp(form.Write(0), form.Read(1, type), form.Read(2, type), Binary(form, type, part, saturates));
        }
    }

    private static PtxType Wide(PtxType type) => type switch
    {
        PtxType.S16 => PtxType.S32,
        PtxType.U16 => PtxType.U32,
        PtxType.S32 => PtxType.S64,
        _ => PtxType.U64,
    };

    private static Func<ulong, ulong, ulong, ulong> Ternary(Form form, PtxType type, string? part, bool saturates)
    {
        if (form.Name == "sad")
            return (a, b, c) => Less(type, a, b) ? type.Extend(b) - type.Extend(a) + c : type.Extend(a) - type.Extend(b) + c;
        Func<ulong, ulong, ulong> product = Product(form, type, part);
        if (saturates)
            return (a, b, c) => Saturate((long)(int)product(a, b) + (int)c);
        if (type.Bits() == 32 && part == "lo")
            return (a, b, c) => (uint)((uint)a * (uint)b + (uint)c);
        return (a, b, c) => product(a, b) + c;
    }

    private static Func<ulong, ulong, ulong> Binary(Form form, PtxType type, string? part, bool saturates)
    {
        bool is32 = type.Bits() == 32, isSigned = type.IsSigned();
        return form.Name switch
        {
            "add" when saturates => (a, b) => Saturate((long)(int)a + (int)b),
            "sub" when saturates => (a, b) => Saturate((long)(int)a - (int)b),
            "add" when is32 => (a, b) => (uint)a + (uint)b & uint.MaxValue,
            "add" => (a, b) => type.Extend(a + b),
            "sub" when is32 => (a, b) => (uint)((uint)a - (uint)b),
            "sub" => (a, b) => type.Extend(a - b),
            "mul" or "mul24" => Product(form, type, part),
            // Division by zero gives an unspecified value on a card: here all ones.
            "div" when isSigned => (a, b) => Divide((long)type.Extend(a), (long)type.Extend(b)),
            "div" => (a, b) => type.Extend(b) == 0 ? ulong.MaxValue : type.Extend(a) / type.Extend(b),
            "rem" when isSigned => (a, b) => Remainder((long)type.Extend(a), (long)type.Extend(b)),
            "rem" => (a, b) => type.Extend(b) == 0 ? ulong.MaxValue : type.Extend(a) % type.Extend(b),
            "min" => (a, b) => type.Extend(Less(type, a, b) ? a : b),
            "max" => (a, b) => type.Extend(Less(type, a, b) ? b : a),
            _ => throw form.Unknown(),
        };
    }

    private static Func<ulong, ulong, ulong> Product(Form form, PtxType type, string? part)
    {
        bool isSigned = type.IsSigned();
        int bits = type.Bits();
        if (form.Name is "mul24" or "mad24")
        {
            int spare = 64 - 24;
            Func<ulong, long> low = isSigned ? a => (long)(a << spare) >> spare : a => (long)(a << spare >> spare);
            return part == "hi" ? (a, b) => (uint)(low(a) * low(b) >> 16) : (a, b) => (uint)(low(a) * low(b));
        }
        return part switch
        {
            "lo" when bits == 32 => (a, b) => (uint)((uint)a * (uint)b),
            "lo" => (a, b) => type.Extend(a * b),
            "hi" when bits == 64 && isSigned => (a, b) => (ulong)Math.BigMul((long)a, (long)b, out _),
            "hi" when bits == 64 => (a, b) => Math.BigMul(a, b, out _),
            "hi" => (a, b) => type.Extend(type.Extend(a) * type.Extend(b) >> bits),
            "wide" when bits < 64 => (a, b) => type.Extend(a) * type.Extend(b),
            _ => throw form.Error("has no .lo, .hi or .wide"),
        };
    }

    private static ulong Saturate(long value) => (ulong)Math.Clamp(value, int.MinValue, int.MaxValue);

    private static ulong Divide(long a, long b) => b == 0 ? ulong.MaxValue : b == -1 ? (ulong)-a : (ulong)(a / b);

    private static ulong Remainder(long a, long b) => b == 0 ? ulong.MaxValue : b == -1 ? 0 : (ulong)(a % b);

    private static bool Less(PtxType type, ulong a, ulong b) =>
        type.IsSigned() ? (long)type.Extend(a) < (long)type.Extend(b) : type.Extend(a) < type.Extend(b);

    private static PtxOp Logic(Form form)
    {
        PtxType type = form.Type();
        if (type == PtxType.Pred)
            return PredicateLogic(form);
        if (form.Name is "not" or "cnot")
        {
            form.Done(2);
            return new UnaryOp(form.Write(0), form.Read(1, type), form.Name == "not" ? a => type.Extend(~a) : a => type.Extend(a) == 0 ? 1UL : 0);
        }
        form.Done(3);
        int bits = type.Bits();
        Func<ulong, ulong, ulong> f = form.Name switch
        {
            "and" => (a, b) => a & b,
            "or" => (a, b) => a | b,
            "xor" => (a, b) => a ^ b,
            "shl" => (a, b) => (uint)b >= bits ? 0 : type.Extend(a << (int)b),
            "shr" when type.IsSigned() => (a, b) => (ulong)((long)type.Extend(a) >> (int)Math.Min((uint)b, 63)),
            _ => (a, b) => (uint)b >= bits ? 0 : type.Extend(a) >> (int)b,
        };
        return new BinaryOp(form.Write(0), form.Read(1, type), form.Read(2, form.Name[0] == 's' ? PtxType.U32 : type), f);
    }

    private static WarpOp PredicateLogic(Form form)
    {
        PredicateOperand d = form.Predicate(0), a = form.Predicate(1);
        if (form.Name == "not")
        {
            form.Done(2);
            return new WarpOp((warp, mask) => warp.SetPredicate(d.Index, mask, ~a.Lanes(warp, mask)));
        }
        form.Done(3);
        PredicateOperand b = form.Predicate(2);
        return form.Name switch
        {
            "and" => new WarpOp((warp, mask) => warp.SetPredicate(d.Index, mask, a.Lanes(warp, mask) & b.Lanes(warp, mask))),
            "or" => new WarpOp((warp, mask) => warp.SetPredicate(d.Index, mask, a.Lanes(warp, mask) | b.Lanes(warp, mask))),
            "xor" => new WarpOp((warp, mask) => warp.SetPredicate(d.Index, mask, a.Lanes(warp, mask) ^ b.Lanes(warp, mask))),
            _ => throw form.Unknown(),
        };
    }

    private static PtxOp Bits(Form form)
    {
        switch (form.Name)
        {
            case "popc" or "clz" or "brev" or "bfind":
                bool asShift = form.Take("shiftamt");
                PtxType type = form.Type();
                form.Done(2);
                return new UnaryOp(form.Write(0), form.Read(1, type), Count(form.Name, type, asShift));
            case "bfe":
                type = form.Type();
                form.Done(4);
                return new TernaryOp(form.Write(0), form.Read(1, type), form.Read(2, PtxType.U32), form.Read(3, PtxType.U32), (a, b, c) => Extract(type, a, (int)(b & 255), (int)(c & 255)));
            case "bfi":
                type = form.Type();
                form.Done(5);
                return new QuaternaryOp(form.Write(0), [form.Read(1, type), form.Read(2, type), form.Read(3, PtxType.U32), form.Read(4, PtxType.U32)], (a, b, c, d) => Insert(type, a, b, (int)(c & 255), (int)(d & 255)));
            case "prmt":
                type = form.Type();
                form.Done(4);
                return new TernaryOp(form.Write(0), form.Read(1, type), form.Read(2, type), form.Read(3, type), Permute);
            case "lop3":
                type = form.Type();
                form.Done(5);
                int table = (int)form.Constant(4);
                return new TernaryOp(form.Write(0), form.Read(1, type), form.Read(2, type), form.Read(3, type), (a, b, c) => Lop3(a, b, c, table));
            case "shf":
                bool left = form.TakeOne("l", "r") == "l", wraps = form.TakeOne("wrap", "clamp") == "wrap";
                type = form.Type();
                form.Done(4);
                return new TernaryOp(form.Write(0), form.Read(1, type), form.Read(2, type), form.Read(3, PtxType.U32), (a, b, c) => Funnel((uint)a, (uint)b, wraps ? (int)c & 31 : (int)Math.Min((uint)c, 32), left));
            default:
                return Dot(form);
        }
    }

    private static TernaryOp Dot(Form form)
    {
        bool isFour = form.Name == "dp4a", high = form.TakeOne("lo", "hi") == "hi";
        PtxType a = form.Type(), b = form.Type();
        form.Done(4);
        PtxType wide = isFour ? PtxType.U8 : PtxType.U16;
        return new TernaryOp(form.Write(0), form.Read(1, a), form.Read(2, b), form.Read(3, PtxType.S32), (x, y, c) =>
        {
            int sum = (int)c;
            for (int i = 0; i < (isFour ? 4 : 2); i++)
            {
                ulong left = x >> (isFour ? 8 : 16) * i, right = y >> 8 * (i + (high ? 2 : 0));
                sum += (int)Narrow(a, left, wide) * (int)Narrow(b, right, PtxType.U8);
            }
            return (uint)sum;
        });
    }

    private static ulong Narrow(PtxType type, ulong value, PtxType width) => (width, type.IsSigned()) switch
    {
        (PtxType.U8, true) => (ulong)(sbyte)value,
        (PtxType.U8, false) => (byte)value,
        (_, true) => (ulong)(short)value,
        _ => (ushort)value,
    };

    private static Func<ulong, ulong> Count(string name, PtxType type, bool asShift)
    {
        int bits = type.Bits();
        return name switch
        {
            "popc" => a => (ulong)BitOperations.PopCount(a & type.Mask()),
            "clz" => a => (ulong)(BitOperations.LeadingZeroCount(a & type.Mask()) - (64 - bits)),
            "bfind" => a =>
            {
                ulong value = type.IsSigned() && (long)type.Extend(a) < 0 ? ~type.Extend(a) : type.Extend(a);
                return value == 0 ? uint.MaxValue : (ulong)(asShift ? bits - 1 - BitOperations.Log2(value) : BitOperations.Log2(value));
            }
            ,
            _ => a =>
            {
                ulong reversed = 0;
                for (int i = 0; i < bits; i++)
                    reversed |= (a >> i & 1) << (bits - 1 - i);
                return reversed;
            }
            ,
        };
    }

    private static ulong Extract(PtxType type, ulong value, int start, int length)
    {
        int top = type.Bits() - 1;
        bool sign = type.IsSigned() && length != 0 && (value >> Math.Min(start + length - 1, top) & 1) != 0;
        ulong result = 0;
        for (int i = 0; i <= top; i++)
        {
            bool bit = i < length && start + i <= top ? (value >> (start + i) & 1) != 0 : sign;
            result |= bit ? 1UL << i : 0;
        }
        return result;
    }

    private static ulong Insert(PtxType type, ulong field, ulong into, int start, int length)
    {
        for (int i = 0; i < length && start + i < type.Bits(); i++)
            into = (into & ~(1UL << (start + i))) | (field >> i & 1) << (start + i);
        return into;
    }

    private static ulong Permute(ulong a, ulong b, ulong selector)
    {
        ulong bytes = (uint)a | b << 32, result = 0;
        for (int i = 0; i < 4; i++)
        {
            int choice = (int)(selector >> 4 * i) & 15;
            ulong value = bytes >> 8 * (choice & 7) & 255;
            if ((choice & 8) != 0)
                value = (value & 128) != 0 ? 255UL : 0;
            result |= value << 8 * i;
        }
        return result;
    }

    private static ulong Lop3(ulong a, ulong b, ulong c, int table)
    {
        ulong result = 0;
        for (int row = 0; row < 8; row++)
            if ((table >> row & 1) != 0)
                result |= ((row & 4) != 0 ? a : ~a) & ((row & 2) != 0 ? b : ~b) & ((row & 1) != 0 ? c : ~c);
        return (uint)result;
    }

    private static ulong Funnel(uint low, uint high, int shift, bool left)
    {
        ulong both = (ulong)high << 32 | low;
        return left ? (uint)((both << shift) >> 32) : (uint)(both >> shift);
    }
}
