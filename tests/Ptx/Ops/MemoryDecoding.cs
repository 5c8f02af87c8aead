using System.Buffers.Binary;
using System.Numerics;
using TpServe.Ptx.Machine;
using TpServe.Ptx.Memory;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Ops;

/// <summary>ld, st, and fences.</summary>
internal static class MemoryDecoding
{
    public static PtxOp? OrNull(Form form) => form.Name switch
    {
        "ld" or "ldu" => Load(form),
        "st" => Store(form),
        "membar" or "fence" => Fence(form),
        _ => null,
    };

    private static PtxOp Load(Form form)
    {
        bool isConstant = form.Take("nc");
        (Space space, Strength strength, bool acquires) = Qualifiers(form);
        int count = form.TakeOne("v2", "v4", "v8") is { } vector ? vector[1] - '0' : 1;
        PtxType type = form.Type();
        form.Done(2);
        Operand[] items = form.Items(0);
        if (items.Length != count)
            throw form.Error($"loads {count} values into {items.Length} registers");
        Target[] targets = [.. items.Select(form.Write)];
        if (space == Space.Param)
            return new LoadParameterOp(form.Operands[1].Symbol ?? throw form.Error("has a .param address that is no variable"), (int)form.Operands[1].Offset, type, targets);
        return new LoadOp(space, form.Address(1), type, targets, strength, acquires, isConstant);
    }

    private static PtxOp Store(Form form)
    {
        (Space space, Strength strength, bool releases) = Qualifiers(form);
        int count = form.TakeOne("v2", "v4", "v8") is { } vector ? vector[1] - '0' : 1;
        PtxType type = form.Type();
        form.Done(2);
        Operand[] items = form.Items(1);
        if (items.Length != count)
            throw form.Error($"stores {count} values from {items.Length} registers");
        Source[] sources = [.. items.Select(item => form.Read(item, type))];
        if (space == Space.Param)
            return new StoreParameterOp(form.Operands[0].Symbol ?? throw form.Error("has a .param address that is no variable"), (int)form.Operands[0].Offset, type, sources);
        return new StoreOp(space, form.Address(0), type, sources, strength, releases);
    }

    private static (Space Space, Strength Strength, bool Orders) Qualifiers(Form form)
    {
        bool orders = form.TakeOne("acquire", "release") != null;
        bool isRelaxed = form.Take("relaxed") || orders, isVolatile = form.TakeOne("volatile", "mmio") != null;
        Strength scope = Scope(form, Strength.System);
        form.TakeAll("weak", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "unified");
        form.TakeStarting("L1::");
        form.TakeStarting("L2::");
        return (form.Space(), isVolatile ? Strength.System : isRelaxed ? scope : Strength.Weak, orders);
    }

    /// <summary>Takes the scope an instruction names. A cluster counts as a device.</summary>
    public static Strength Scope(Form form, Strength unnamed) => form.TakeOne("cta", "cluster", "gpu", "gl", "sys") switch
    {
        "cta" => Strength.Block,
        "sys" => Strength.System,
        null => unnamed,
        _ => Strength.Device,
    };

    private static WarpOp Fence(Form form)
    {
        Strength scope = Scope(form, Strength.System);
        form.TakeAll("sc", "acq_rel");
        form.Done(0);
        return new WarpOp((warp, _) => warp.Fence(scope));
    }
}

/// <summary>ld from global, shared, local or constant memory.</summary>
internal sealed class LoadOp(Space space, AddressSource address, PtxType type, Target[] targets, Strength strength, bool acquires, bool isConstant) : PtxOp
{
    private readonly int _size = type.Bytes();

    public override void Execute(Warp warp, uint mask)
    {
        address.Fill(warp, mask);
        int bytes = _size * targets.Length;
        warp.Count(space, mask, bytes);
        foreach (Target target in targets)
            warp.Destination(target.Register, mask);
        for (uint rest = mask; rest != 0; rest &= rest - 1)
        {
            int lane = BitOperations.TrailingZeroCount(rest);
            ReadOnlySpan<byte> data = warp.Read(lane, space, warp.Addresses[lane], bytes, strength, isConstant);
            for (int i = 0; i < targets.Length; i++)
                warp.Registers[targets[i].Register * Warp.Lanes + lane] = Value(data.Slice(i * _size, _size)) & targets[i].Mask;
            if (strength != Strength.Weak)
            {
                Region region = warp.Locate(lane, space, warp.Addresses[lane], bytes, out int offset);
                warp.StrongRead(region, offset);
            }
        }
        if (acquires)
            warp.Acquire(strength);
    }

    private ulong Value(ReadOnlySpan<byte> bytes) => type.Extend(_size switch
    {
        1 => bytes[0],
        2 => BinaryPrimitives.ReadUInt16LittleEndian(bytes),
        4 => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
        _ => BinaryPrimitives.ReadUInt64LittleEndian(bytes),
    });
}

/// <summary>st to global, shared or local memory.</summary>
internal sealed class StoreOp(Space space, AddressSource address, PtxType type, Source[] sources, Strength strength, bool releases) : PtxOp
{
    private readonly int _size = type.Bytes();
    private readonly ulong[][] _values = [.. sources.Select(_ => new ulong[Warp.Lanes])];

    public override void Execute(Warp warp, uint mask)
    {
        address.Fill(warp, mask);
        int bytes = _size * sources.Length;
        warp.Count(space, mask, bytes);
        for (int i = 0; i < sources.Length; i++)
            sources[i].Lanes(warp, mask).CopyTo(_values[i]);
        if (releases)
            warp.Release(strength);
        Span<byte> data = stackalloc byte[64];
        for (uint rest = mask; rest != 0; rest &= rest - 1)
        {
            int lane = BitOperations.TrailingZeroCount(rest);
            for (int i = 0; i < sources.Length; i++)
                BinaryPrimitives.WriteUInt64LittleEndian(data[(i * _size)..], _values[i][lane]);
            warp.Write(lane, space, warp.Addresses[lane], data[..bytes], strength);
            if (strength != Strength.Weak)
            {
                Region region = warp.Locate(lane, space, warp.Addresses[lane], bytes, out int offset);
                warp.StrongWrite(region, offset, isReadModifyWrite: false);
            }
        }
    }
}

/// <summary>ld.param: a kernel's argument, or a variable of a call.</summary>
internal sealed class LoadParameterOp(Symbol symbol, int offset, PtxType type, Target[] targets) : PtxOp
{
    public override void Execute(Warp warp, uint mask)
    {
        int size = type.Bytes();
        if (offset < 0 || offset + size * targets.Length > symbol.Bytes)
            throw warp.Fault(PtxFault.OutOfBounds, mask, $"reads beyond the {symbol.Bytes} bytes of {symbol.Name}");
        byte[] bytes = symbol.IsKernelParameter ? warp.Launch.Arguments : warp.Parameters;
        int stride = symbol.IsKernelParameter ? 0 : warp.Launch.Program.ParameterBytes;
        Span<byte> value = stackalloc byte[8];
        for (int i = 0; i < targets.Length; i++)
        {
            Span<ulong> d = warp.Destination(targets[i].Register, mask);
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                value.Clear();
                bytes.AsSpan(lane * stride + symbol.Offset + offset + i * size, size).CopyTo(value);
                d[lane] = type.Extend(BinaryPrimitives.ReadUInt64LittleEndian(value)) & targets[i].Mask;
            }
        }
    }
}

/// <summary>st.param: an argument of a call, or a result.</summary>
internal sealed class StoreParameterOp(Symbol symbol, int offset, PtxType type, Source[] sources) : PtxOp
{
    public override void Execute(Warp warp, uint mask)
    {
        int size = type.Bytes(), stride = warp.Launch.Program.ParameterBytes;
        if (offset < 0 || offset + size * sources.Length > symbol.Bytes || symbol.IsKernelParameter)
            throw warp.Fault(PtxFault.OutOfBounds, mask, $"writes beyond the {symbol.Bytes} bytes of {symbol.Name}");
        Span<byte> value = stackalloc byte[8];
        for (int i = 0; i < sources.Length; i++)
        {
            ReadOnlySpan<ulong> lanes = sources[i].Lanes(warp, mask);
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                BinaryPrimitives.WriteUInt64LittleEndian(value, lanes[lane]);
                value[..size].CopyTo(warp.Parameters.AsSpan(lane * stride + symbol.Offset + offset + i * size));
            }
        }
    }
}
