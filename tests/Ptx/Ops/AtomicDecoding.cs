using System.Numerics;
using TpServe.Ptx.Machine;
using TpServe.Ptx.Memory;
using TpServe.Ptx.Text;
using static TpServe.Ptx.Ops.Numbers16;

namespace TpServe.Ptx.Ops;

/// <summary>atom and red.</summary>
internal static class AtomicDecoding
{
    public static PtxOp? OrNull(Form form)
    {
        if (form.Name is not ("atom" or "red"))
            return null;
        string? order = form.TakeOne("relaxed", "acquire", "release", "acq_rel");
        form.Take("noftz");
        Strength scope = MemoryDecoding.Scope(form, Strength.Device);
        form.TakeStarting("L2::");
        Space space = form.Space();
        string name = form.TakeOne("add", "min", "max", "inc", "dec", "and", "or", "xor", "exch", "cas") ?? throw form.Unknown();
        PtxType type = form.Type();
        int first = form.Name == "atom" ? 1 : 0, sources = name == "cas" ? 2 : 1;
        form.Done(first + 1 + sources);
        return new AtomicOp(
            space,
            first == 1 ? form.Write(0) : null,
            form.Address(first),
            type,
            form.Read(first + 1, type),
            sources == 2 ? form.Read(first + 2, type) : null,
            Update(form, name, type),
            scope,
            acquires: order is "acquire" or "acq_rel",
            releases: order is "release" or "acq_rel");
    }

    private static Func<ulong, ulong, ulong, ulong> Update(Form form, string name, PtxType type) => name switch
    {
        "add" when type is PtxType.F16x2 or PtxType.Bf16x2 => (old, b, _) => AddFloat(Half(type), old & 0xffff, b & 0xffff) | AddFloat(Half(type), old >> 16, b >> 16) << 16,
        "add" when type.IsFloat() => (old, b, _) => AddFloat(type, old, b),
        "add" => (old, b, _) => old + b,
        "min" when !type.IsFloat() => (old, b, _) => Less(type, b, old) ? b : old,
        "max" when !type.IsFloat() => (old, b, _) => Less(type, old, b) ? b : old,
        "inc" => (old, b, _) => (uint)old >= (uint)b ? 0 : old + 1,
        "dec" => (old, b, _) => (uint)old == 0 || (uint)old > (uint)b ? b : old - 1,
        "and" => (old, b, _) => old & b,
        "or" => (old, b, _) => old | b,
        "xor" => (old, b, _) => old ^ b,
        "exch" => (_, b, _) => b,
        "cas" => (old, b, c) => ((old ^ b) & type.Mask()) == 0 ? c : old,
        _ => throw form.Unknown(),
    };

    private static PtxType Half(PtxType pair) => pair == PtxType.F16x2 ? PtxType.F16 : PtxType.Bf16;

    private static ulong AddFloat(PtxType type, ulong a, ulong b) => FromDouble(type, ToDouble(type, a) + ToDouble(type, b));

    private static bool Less(PtxType type, ulong a, ulong b) =>
        type.IsSigned() ? (long)type.Extend(a) < (long)type.Extend(b) : type.Extend(a) < type.Extend(b);
}

/// <summary>A read-modify-write, lane after lane in their order.</summary>
internal sealed class AtomicOp(
    Space space, Target? target, AddressSource address, PtxType type, Source b, Source? c, Func<ulong, ulong, ulong, ulong> update, Strength scope, bool acquires, bool releases) : PtxOp
{
    private readonly ulong[] _b = new ulong[Warp.Lanes], _c = new ulong[Warp.Lanes];

    public override void Execute(Warp warp, uint mask)
    {
        address.Fill(warp, mask);
        b.Lanes(warp, mask).CopyTo(_b);
        c?.Lanes(warp, mask).CopyTo(_c);
        int size = type.Bytes();
        warp.Count(space, mask, size);
        if (releases)
            warp.Release(scope);
        for (uint rest = mask; rest != 0; rest &= rest - 1)
        {
            int lane = BitOperations.TrailingZeroCount(rest);
            ulong at = warp.Addresses[lane];
            Region region = warp.Locate(lane, space, at, size, out int offset);
            ulong old = warp.ReadValue(lane, space, at, size, scope);
            warp.StrongRead(region, offset);
            warp.WriteValue(lane, space, at, size, update(old, _b[lane], _c[lane]), scope);
            warp.StrongWrite(region, offset, isReadModifyWrite: true);
            if (target is { } d)
                warp.Destination(d.Register, 1u << lane)[lane] = type.Extend(old) & d.Mask;
        }
        if (acquires)
            warp.Acquire(scope);
    }
}
