using TpServe.Ptx.Machine;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Ops;

/// <summary>Where a result goes: a register and the bits it can hold.</summary>
internal readonly record struct Target(int Register, ulong Mask);

/// <summary>A predicate as source or destination; index -1 is the constant the negation tells.</summary>
internal readonly record struct PredicateOperand(int Index, bool Negated)
{
    public uint Lanes(Warp warp, uint mask) => Index < 0 ? (Negated ? 0 : uint.MaxValue) : warp.Predicate(Index, Negated, mask);
}

/// <summary>An instruction being decoded: the parts of its opcode are taken one by one, and none may be left.</summary>
internal sealed class Form
{
    private readonly List<string> _parts;
    private readonly int _sinkRegister, _sinkPredicate;

    public Form(Instruction source, string function, int sinkRegister, int sinkPredicate)
    {
        Source = source;
        Function = function;
        _parts = [.. source.Opcode.Split('.', StringSplitOptions.RemoveEmptyEntries)];
        Name = _parts[0];
        _parts.RemoveAt(0);
        _sinkRegister = sinkRegister;
        _sinkPredicate = sinkPredicate;
    }

    public Instruction Source { get; }
    public string Function { get; }
    public string Name { get; }
    public Operand[] Operands => Source.Operands;
    public int Count => Source.Operands.Length;

    /// <summary>Takes a modifier where it is present.</summary>
    public bool Take(string part) => _parts.Remove(part);

    /// <summary>Takes the first present of these modifiers, or null.</summary>
    public string? TakeOne(params ReadOnlySpan<string> parts)
    {
        foreach (string part in parts)
            if (_parts.Remove(part))
                return part;
        return null;
    }

    /// <summary>Takes every present one of these modifiers.</summary>
    public void TakeAll(params ReadOnlySpan<string> parts)
    {
        foreach (string part in parts)
            _parts.Remove(part);
    }

    /// <summary>Takes every modifier that starts so.</summary>
    public void TakeStarting(string start) => _parts.RemoveAll(part => part.StartsWith(start, StringComparison.Ordinal));

    /// <summary>Takes the next type.</summary>
    public PtxType Type() => TypeOrNull() ?? throw Error("has no type");

    public PtxType? TypeOrNull()
    {
        for (int i = 0; i < _parts.Count; i++)
        {
            if (!PtxTypes.TryParse(_parts[i], out PtxType type))
                continue;
            _parts.RemoveAt(i);
            return type;
        }
        return null;
    }

    /// <summary>Takes the state space; generic where none is named.</summary>
    public Space Space() => TakeOne("global", "shared", "shared::cta", "local", "param", "param::entry", "param::func", "const") switch
    {
        "global" => Text.Space.Global,
        "shared" or "shared::cta" => Text.Space.Shared,
        "local" => Text.Space.Local,
        "param" or "param::entry" or "param::func" => Text.Space.Param,
        "const" => Text.Space.Const,
        _ => Text.Space.Generic,
    };

    /// <summary>Checks that every part of the opcode is understood and the operands are as many.</summary>
    public void Done(int fewest, int most = -1)
    {
        if (_parts.Count > 0)
            throw Error($"has the unknown part .{_parts[0]}", PtxFault.UnknownInstruction);
        if (Count < fewest || Count > (most < 0 ? fewest : most))
            throw Error($"has {Count} operands");
    }

    public Source Read(int index, PtxType type) => Read(Operands[index], type);

    public Source Read(Operand operand, PtxType type) => operand.Kind switch
    {
        OperandKind.Register when operand.Register!.Type != PtxType.Pred => new RegisterSource(operand.Register),
        OperandKind.Immediate => new ConstantSource(type.IsFloat() ? Immediates.Bits(operand, type) : operand.FloatBits == 0 ? type.Extend(operand.Bits) : operand.Bits),
        OperandKind.Symbol => new SymbolSource(operand.Symbol!, operand.Offset),
        OperandKind.Special => SpecialSource.OrNull(operand.Name) ?? throw Error($"names {operand.Name}, which is neither declared nor a known special register"),
        OperandKind.Name => throw Error($"names {operand.Name}, which is not declared"),
        _ => throw Error($"has a {operand.Kind} where a value is due"),
    };

    public Target Write(int index) => Write(Operands[index]);

    public Target Write(Operand operand)
    {
        if (operand.Kind == OperandKind.Sink)
            return new Target(_sinkRegister, ulong.MaxValue);
        if (operand.Kind != OperandKind.Register || operand.Register!.Type == PtxType.Pred)
            throw Error($"writes {(operand.Name.Length > 0 ? operand.Name : operand.Kind.ToString())}, which is no declared register");
        return new Target(operand.Register.Index, operand.Register.Type.Mask());
    }

    public PredicateOperand Predicate(int index) => Predicate(Operands[index]);

    public PredicateOperand Predicate(Operand operand) => operand.Kind switch
    {
        OperandKind.Register when operand.Register!.Type == PtxType.Pred => new PredicateOperand(operand.Register.Index, operand.Negated),
        OperandKind.Immediate => new PredicateOperand(-1, operand.Bits == 0),
        OperandKind.Sink => new PredicateOperand(_sinkPredicate, false),
        _ => throw Error("has no predicate where one is due"),
    };

    /// <summary>The registers of {a, b, ...}, or the single one.</summary>
    public Operand[] Items(int index) => Operands[index].Kind == OperandKind.Vector ? Operands[index].Items : [Operands[index]];

    /// <summary>A constant operand.</summary>
    public long Constant(int index) => Operands[index].Kind == OperandKind.Immediate
        ? (long)Operands[index].Bits
        : throw Error($"needs a number as operand {index + 1}");

    public AddressSource Address(int index)
    {
        Operand operand = Operands[index];
        if (operand.Kind != OperandKind.Address)
            throw Error("has no [address] where one is due");
        Source start = operand.Register != null ? new RegisterSource(operand.Register)
            : operand.Symbol != null ? new SymbolSource(operand.Symbol, 0)
            : new ConstantSource(operand.Bits);
        return new AddressSource(start, operand.Offset, operand.Register?.Type.Bits() == 32 ? uint.MaxValue : ulong.MaxValue);
    }

    public PtxException Error(string what, PtxFault fault = PtxFault.Syntax) =>
        new(fault, $"{Function}, line {Source.Line}: {Source.Text} {what}.");

    public PtxException Unknown() => Error("is not an instruction of this interpreter", PtxFault.UnknownInstruction);
}

/// <summary>[base + offset] in each lane.</summary>
internal sealed class AddressSource(Source start, long offset, ulong mask)
{
    /// <summary>Puts the addresses of the lanes of mask into the warp's Addresses.</summary>
    public void Fill(Warp warp, uint mask1)
    {
        ReadOnlySpan<ulong> lanes = start.Lanes(warp, mask1);
        ulong[] addresses = warp.Addresses;
        for (int lane = 0; lane < addresses.Length; lane++)
            addresses[lane] = (lanes[lane] + (ulong)offset) & mask;
    }
}
