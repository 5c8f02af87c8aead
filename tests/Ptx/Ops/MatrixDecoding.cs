using System.Buffers.Binary;
using TpServe.Ptx.Machine;
using TpServe.Ptx.Memory;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Ops;

/// <summary>mma.sync, ldmatrix and stmatrix.</summary>
internal static class MatrixDecoding
{
    public static PtxOp? OrNull(Form form) => form.Name switch
    {
        "mma" => Multiply(form),
        "ldmatrix" => Move(form, loads: true),
        "stmatrix" => Move(form, loads: false),
        _ => null,
    };

    private static MmaOp Multiply(Form form)
    {
        if (!form.Take("sync") | !form.Take("aligned"))
            throw form.Unknown();
        string shape = form.TakeOne("m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32") ?? throw form.Unknown();
        if (!form.Take("row") | !form.Take("col"))
            throw form.Unknown();
        bool saturates = form.Take("satfinite");
        PtxType d = form.Type(), a = form.Type(), b = form.Type(), c = form.Type();
        form.Done(4);
        int k = int.Parse(shape.AsSpan("m16n8k".Length), System.Globalization.CultureInfo.InvariantCulture);
        MmaShape layout = MmaShape.OrNull(d, a, b, c, k) ?? throw form.Unknown();
        Operand[] ds = form.Items(0), @as = form.Items(1), bs = form.Items(2), cs = form.Items(3);
        if (ds.Length != layout.AccumulatorRegisters || cs.Length != ds.Length || @as.Length != layout.ARegisters || bs.Length != layout.BRegisters)
            throw form.Error($"needs {layout.AccumulatorRegisters}, {layout.ARegisters}, {layout.BRegisters} and {layout.AccumulatorRegisters} registers");
        return new MmaOp(
            layout,
            [.. ds.Select(form.Write)],
            [.. @as.Select(item => form.Read(item, PtxType.B32))],
            [.. bs.Select(item => form.Read(item, PtxType.B32))],
            [.. cs.Select(item => form.Read(item, c == PtxType.F32 ? PtxType.F32 : PtxType.B32))],
            saturates);
    }

    private static WarpOp Move(Form form, bool loads)
    {
        if (!form.Take("sync") | !form.Take("aligned") | !form.Take("m8n8"))
            throw form.Unknown();
        int count = form.TakeOne("x1", "x2", "x4") is { } many ? many[1] - '0' : throw form.Unknown();
        bool transposes = form.Take("trans");
        Space space = form.Space();
        if (form.Type() != PtxType.B16 || space is not (Space.Shared or Space.Generic))
            throw form.Unknown();
        form.Done(2);
        Operand[] items = form.Items(loads ? 0 : 1);
        if (items.Length != count)
            throw form.Error($"moves {count} matrices with {items.Length} registers");
        AddressSource address = form.Address(loads ? 1 : 0);
        Target[] targets = loads ? [.. items.Select(form.Write)] : [];
        Source[] sources = loads ? [] : [.. items.Select(item => form.Read(item, PtxType.B32))];
        uint rows = count == 4 ? uint.MaxValue : (1u << count * 8) - 1;
        return new WarpOp((warp, mask) =>
        {
            warp.RequireWhole(mask);
            if (mask != uint.MaxValue)
                throw warp.Fault(PtxFault.Divergent, mask, "executes an instruction of 32 lanes in a warp with fewer");
            address.Fill(warp, rows);
            warp.Count(space, rows, 16);
            if (loads)
                Load(warp, space, targets, transposes);
            else
                Store(warp, space, sources, transposes);
        });
    }

    private static void Load(Warp warp, Space space, Target[] targets, bool transposes)
    {
        Span<ushort> matrix = stackalloc ushort[64];
        for (int m = 0; m < targets.Length; m++)
        {
            for (int row = 0; row < 8; row++)
            {
                ReadOnlySpan<byte> data = warp.Read(m * 8 + row, space, warp.Addresses[m * 8 + row], 16, Strength.Weak);
                for (int column = 0; column < 8; column++)
                    matrix[row * 8 + column] = BinaryPrimitives.ReadUInt16LittleEndian(data[(2 * column)..]);
            }
            Span<ulong> d = warp.Destination(targets[m].Register, uint.MaxValue);
            for (int lane = 0; lane < Warp.Lanes; lane++)
            {
                (int low, int high) = Places(lane, transposes);
                d[lane] = matrix[low] | (ulong)matrix[high] << 16;
            }
        }
    }

    private static void Store(Warp warp, Space space, Source[] sources, bool transposes)
    {
        Span<byte> matrix = stackalloc byte[128];
        for (int m = 0; m < sources.Length; m++)
        {
            ReadOnlySpan<ulong> lanes = sources[m].Lanes(warp, uint.MaxValue);
            for (int lane = 0; lane < Warp.Lanes; lane++)
            {
                (int low, int high) = Places(lane, transposes);
                BinaryPrimitives.WriteUInt16LittleEndian(matrix[(2 * low)..], (ushort)lanes[lane]);
                BinaryPrimitives.WriteUInt16LittleEndian(matrix[(2 * high)..], (ushort)(lanes[lane] >> 16));
            }
            for (int row = 0; row < 8; row++)
                warp.Write(m * 8 + row, space, warp.Addresses[m * 8 + row], matrix.Slice(row * 16, 16), Strength.Weak);
        }
    }

    /// <summary>Where in an 8 × 8 matrix the low and high half of a lane's register are.</summary>
    private static (int Low, int High) Places(int lane, bool transposes)
    {
        int group = lane >> 2, pair = 2 * (lane & 3);
        return transposes ? (pair * 8 + group, (pair + 1) * 8 + group) : (group * 8 + pair, group * 8 + pair + 1);
    }
}
