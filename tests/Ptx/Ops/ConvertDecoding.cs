using static TpServe.Ptx.Ops.Numbers16;

namespace TpServe.Ptx.Ops;

/// <summary>cvt.</summary>
internal static class ConvertDecoding
{
    public static PtxOp? OrNull(Form form)
    {
        if (form.Name != "cvt")
            return null;
        string? rounding = form.TakeOne("rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi", "rna");
        bool flushes = form.Take("ftz"), saturates = form.Take("sat"), relu = form.Take("relu");
        if (form.Take("satfinite"))
            throw form.Unknown();
        PtxType to = form.Type(), from = form.Type();
        if (to is PtxType.F16x2 or PtxType.Bf16x2)
        {
            if (from != PtxType.F32)
                throw form.Unknown();
            form.Done(3);
            PtxType half = to == PtxType.F16x2 ? PtxType.F16 : PtxType.Bf16;
            Func<ulong, ulong> one = Convert(form, half, from, rounding, flushes, saturates, relu);
            return new BinaryOp(form.Write(0), form.Read(1, from), form.Read(2, from), (a, b) => one(a) << 16 | one(b));
        }
        form.Done(2);
        return new UnaryOp(form.Write(0), form.Read(1, from), Convert(form, to, from, rounding, flushes, saturates, relu));
    }

    private static Func<ulong, ulong> Convert(Form form, PtxType to, PtxType from, string? rounding, bool flushes, bool saturates, bool relu)
    {
        if (!from.IsFloat())
            return to.IsFloat() ? FromInteger(form, to, from, rounding) : Integers(to, from, saturates);
        flushes &= from == PtxType.F32 || to == PtxType.F32;
        Func<ulong, double> read = flushes && from == PtxType.F32 ? a => ToDouble(from, FloatDecoding.Flush(a, true)) : a => ToDouble(from, a);
        if (!to.IsFloat())
        {
            Func<double, double> round = Whole(rounding) ?? throw form.Error("converts to an integer without .rni, .rzi, .rmi or .rpi");
            return a => ToInteger(to, round(read(a)));
        }
        if (to == PtxType.Tf32)
            return rounding is "rna" or "rn" ? a => Tf32Bits(Single(a)) : throw form.Unknown();
        Func<double, double> whole = Whole(rounding) ?? (value => value);
        if (rounding is "rm" or "rp")
            throw form.Unknown();
        bool truncates = rounding == "rz";
        return a =>
        {
            double value = whole(read(a));
            if (saturates)
                value = double.IsNaN(value) ? 0 : Math.Clamp(value, 0, 1);
            if (relu && !(value > 0))
                value = double.IsNaN(value) ? value : 0;
            ulong bits = truncates ? Truncate(to, value) : FromDouble(to, value);
            return FloatDecoding.Flush(bits, flushes && to == PtxType.F32);
        };
    }

    private static Func<double, double>? Whole(string? rounding) => rounding switch
    {
        "rni" => value => Math.Round(value, MidpointRounding.ToEven),
        "rzi" => Math.Truncate,
        "rmi" => Math.Floor,
        "rpi" => Math.Ceiling,
        _ => null,
    };

    private static Func<ulong, ulong> Integers(PtxType to, PtxType from, bool saturates)
    {
        if (!saturates)
            return a => to.Extend(from.Extend(a));
        return a =>
        {
            Int128 value = from.IsSigned() ? (long)from.Extend(a) : from.Extend(a);
            return (ulong)(long)Int128.Clamp(value, Lowest(to), Highest(to));
        };
    }

    private static Int128 Lowest(PtxType type) => type.IsSigned() ? -(Int128.One << (type.Bits() - 1)) : 0;

    private static Int128 Highest(PtxType type) => (Int128.One << (type.Bits() - (type.IsSigned() ? 1 : 0))) - 1;

    /// <summary>Out of range gives the nearest value, NaN gives 0 (in 64 bits: the sign bit).</summary>
    private static ulong ToInteger(PtxType to, double value)
    {
        if (double.IsNaN(value))
            return to.Bits() == 64 ? 1UL << 63 : 0;
        Int128 low = Lowest(to), high = Highest(to);
        if (value <= (double)low)
            return (ulong)(UInt128)low;
        if (value >= (double)high)
            return (ulong)high;
        return (ulong)(UInt128)(Int128)value;
    }

    private static Func<ulong, ulong> FromInteger(Form form, PtxType to, PtxType from, string? rounding)
    {
        if (rounding == "rz")
        {
            // 64 bits do not fit a double: cut them to 53 first, which a truncation may.
            return a =>
            {
                ulong extended = from.Extend(a);
                bool negative = from.IsSigned() && (long)extended < 0;
                ulong magnitude = negative ? 0 - extended : extended;
                int spare = Math.Max(0, 11 - System.Numerics.BitOperations.LeadingZeroCount(magnitude));
                double value = magnitude >> spare << spare;
                return Truncate(to, negative ? -value : value);
            };
        }
        if (rounding is not ("rn" or null))
            throw form.Unknown();
        return to switch
        {
            PtxType.F32 when from.IsSigned() => a => Bits((float)(long)from.Extend(a)),
            PtxType.F32 => a => Bits((float)from.Extend(a)),
            _ when from.IsSigned() => a => FromDouble(to, (long)from.Extend(a)),
            _ => a => FromDouble(to, from.Extend(a)),
        };
    }
}
