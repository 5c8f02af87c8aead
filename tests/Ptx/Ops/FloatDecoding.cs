using static TpServe.Ptx.Ops.Numbers16;

namespace TpServe.Ptx.Ops;

/// <summary>Floating-point arithmetic.</summary>
/// <remarks>
/// Numerics rounding to nearest even only; .approx functions are computed in double and rounded once, so a card's last bits may differ.
///          f16 and bf16 are computed in double and rounded once; fma of them likewise.
/// </remarks>
internal static class FloatDecoding
{
    public static PtxOp? OrNull(Form form)
    {
        switch (form.Name)
        {
            case "add" or "sub" or "mul" or "div" or "min" or "max" or "copysign":
                return Operation(form, 2);
            case "fma" or "mad":
                return Operation(form, 3);
            case "abs" or "neg" or "sqrt" or "rsqrt" or "rcp" or "ex2" or "lg2" or "sin" or "cos" or "tanh":
                return Operation(form, 1);
            default:
                return null;
        }
    }

    private static PtxOp Operation(Form form, int sources)
    {
        if (form.TakeOne("rz", "rm", "rp") is { } rounding)
            throw form.Error($"rounds .{rounding}: only .rn is supported here", PtxFault.UnknownInstruction);
        form.TakeAll("rn", "approx", "full");
        bool flushes = form.Take("ftz"), saturates = form.Take("sat"), keepsNan = form.Take("NaN"), relu = form.Take("relu");
        PtxType type = form.Type();
        if (!type.IsFloat())
            throw form.Unknown();
        form.Done(sources + 1);
        flushes &= type == PtxType.F32;
        Target target = form.Write(0);
        bool isPlain = !flushes && !saturates && !relu;
        if (isPlain && type == PtxType.F32 && Fast(form, target) is { } fast)
            return fast;
        Func<ulong, ulong, ulong, ulong> f = type switch
        {
            PtxType.F16x2 => Pairs(Scalar(form, PtxType.F16, keepsNan, saturates, relu, false)),
            PtxType.Bf16x2 => Pairs(Scalar(form, PtxType.Bf16, keepsNan, saturates, relu, false)),
            _ => Scalar(form, type, keepsNan, saturates, relu, flushes),
        };
        return sources switch
        {
            1 => new UnaryOp(target, form.Read(1, type), a => f(a, 0, 0)),
            2 => new BinaryOp(target, form.Read(1, type), form.Read(2, type), (a, b) => f(a, b, 0)),
            _ => new TernaryOp(target, form.Read(1, type), form.Read(2, type), form.Read(3, type), f),
        };
    }

    private static PtxOp? Fast(Form form, Target target)
    {
        const PtxType F32 = PtxType.F32;
        return form.Name switch
        {
            "add" => new BinaryOp(target, form.Read(1, F32), form.Read(2, F32), (a, b) => Bits(Single(a) + Single(b))),
            "sub" => new BinaryOp(target, form.Read(1, F32), form.Read(2, F32), (a, b) => Bits(Single(a) - Single(b))),
            "mul" => new BinaryOp(target, form.Read(1, F32), form.Read(2, F32), (a, b) => Bits(Single(a) * Single(b))),
            "div" => new BinaryOp(target, form.Read(1, F32), form.Read(2, F32), (a, b) => Bits(Single(a) / Single(b))),
            "fma" or "mad" => new TernaryOp(target, form.Read(1, F32), form.Read(2, F32), form.Read(3, F32), (a, b, c) => Bits(MathF.FusedMultiplyAdd(Single(a), Single(b), Single(c)))),
            _ => null,
        };
    }

    private static Func<ulong, ulong, ulong, ulong> Pairs(Func<ulong, ulong, ulong, ulong> f) => (a, b, c) =>
        f(a & 0xffff, b & 0xffff, c & 0xffff) | f(a >> 16 & 0xffff, b >> 16 & 0xffff, c >> 16 & 0xffff) << 16;

    private static Func<ulong, ulong, ulong, ulong> Scalar(Form form, PtxType type, bool keepsNan, bool saturates, bool relu, bool flushes)
    {
        // The sign of a NaN or a zero is a bit like any other.
        ulong sign = 1UL << (type.Bits() - 1);
        if (form.Name is "neg")
            return (a, _, _) => Flush(a, flushes) ^ sign;
        if (form.Name is "abs")
            return (a, _, _) => Flush(a, flushes) & ~sign;
        if (form.Name is "copysign")
            return (a, b, _) => (b & ~sign) | (a & sign);
        Func<double, double, double, double> f = form.Name switch
        {
            "add" => (a, b, _) => a + b,
            "sub" => (a, b, _) => a - b,
            "mul" => (a, b, _) => a * b,
            "div" => (a, b, _) => a / b,
            "fma" or "mad" => type == PtxType.F32
                ? (a, b, c) => MathF.FusedMultiplyAdd((float)a, (float)b, (float)c)
                : Math.FusedMultiplyAdd,
            "min" => (a, b, _) => double.IsNaN(a) || double.IsNaN(b) ? (keepsNan ? double.NaN : double.IsNaN(a) ? b : a) : Math.Min(a, b),
            "max" => (a, b, _) => double.IsNaN(a) || double.IsNaN(b) ? (keepsNan ? double.NaN : double.IsNaN(a) ? b : a) : Math.Max(a, b),
            "sqrt" => (a, _, _) => Math.Sqrt(a),
            "rsqrt" => (a, _, _) => 1 / Math.Sqrt(a),
            "rcp" => (a, _, _) => 1 / a,
            "ex2" => (a, _, _) => Math.Pow(2, a),
            "lg2" => (a, _, _) => Math.Log2(a),
            "sin" => (a, _, _) => Math.Sin(a),
            "cos" => (a, _, _) => Math.Cos(a),
            "tanh" => (a, _, _) => Math.Tanh(a),
            _ => throw form.Unknown(),
        };
        // add, sub, mul, div and sqrt of floats are right when computed in double and rounded once more: 53 ≥ 2 · 24 + 2 bits.
        return (a, b, c) =>
        {
            double value = f(ToDouble(type, Flush(a, flushes)), ToDouble(type, Flush(b, flushes)), ToDouble(type, Flush(c, flushes)));
            if (saturates)
                value = double.IsNaN(value) ? 0 : Math.Clamp(value, 0, 1);
            if (relu && value < 0)
                value = 0;
            return Flush(FromDouble(type, value), flushes);
        };
    }

    /// <summary>Subnormal floats become zeros of their sign.</summary>
    public static ulong Flush(ulong bits, bool flushes) => flushes && (bits & 0x7f80_0000) == 0 ? bits & 0x8000_0000 : bits;
}
