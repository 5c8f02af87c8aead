using TpServe.Ptx.Machine;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Ops;

/// <summary>A source operand: its value in each of the 32 lanes.</summary>
internal abstract class Source
{
    public abstract ReadOnlySpan<ulong> Lanes(Warp warp, uint mask);
}

/// <summary>A register; reading it before it is written is an error.</summary>
internal sealed class RegisterSource(Register register) : Source
{
    public override ReadOnlySpan<ulong> Lanes(Warp warp, uint mask)
    {
        if ((warp.Written[register.Index] & mask) != mask)
            throw warp.Fault(PtxFault.Uninitialised, mask & ~warp.Written[register.Index], $"reads the register {register.Name} before it is written");
        return warp.Registers.AsSpan(register.Index * Warp.Lanes, Warp.Lanes);
    }
}

/// <summary>A number.</summary>
internal sealed class ConstantSource : Source
{
    private readonly ulong[] _lanes = new ulong[Warp.Lanes];

    public ConstantSource(ulong value) => _lanes.AsSpan().Fill(value);

    public ulong Value => _lanes[0];

    public override ReadOnlySpan<ulong> Lanes(Warp warp, uint mask) => _lanes;
}

/// <summary>The address of a variable, known once the launch has placed it.</summary>
internal sealed class SymbolSource(Symbol symbol, long offset) : Source
{
    private readonly ulong[] _lanes = new ulong[Warp.Lanes];

    public override ReadOnlySpan<ulong> Lanes(Warp warp, uint mask)
    {
        _lanes.AsSpan().Fill(warp.Launch.AddressOf(symbol) + (ulong)offset);
        return _lanes;
    }
}

/// <summary>A special register such as %tid.x.</summary>
internal sealed class SpecialSource(Func<Warp, int, ulong> read, bool isUniform = true) : Source
{
    private readonly ulong[] _lanes = new ulong[Warp.Lanes];

    public override ReadOnlySpan<ulong> Lanes(Warp warp, uint mask)
    {
        if (isUniform)
            _lanes.AsSpan().Fill(read(warp, 0));
        else
            for (int lane = 0; lane < _lanes.Length; lane++)
                _lanes[lane] = read(warp, lane);
        return _lanes;
    }

    /// <summary>The register of this name, or null.</summary>
    public static SpecialSource? OrNull(string name) => name switch
    {
        "%tid.x" => new((warp, lane) => (ulong)warp.Threads[lane].X, false),
        "%tid.y" => new((warp, lane) => (ulong)warp.Threads[lane].Y, false),
        "%tid.z" => new((warp, lane) => (ulong)warp.Threads[lane].Z, false),
        "%ntid.x" => new((warp, _) => (ulong)warp.Launch.BlockSize.X),
        "%ntid.y" => new((warp, _) => (ulong)warp.Launch.BlockSize.Y),
        "%ntid.z" => new((warp, _) => (ulong)warp.Launch.BlockSize.Z),
        "%ctaid.x" => new((warp, _) => (ulong)warp.Block.Position.X),
        "%ctaid.y" => new((warp, _) => (ulong)warp.Block.Position.Y),
        "%ctaid.z" => new((warp, _) => (ulong)warp.Block.Position.Z),
        "%nctaid.x" => new((warp, _) => (ulong)warp.Launch.GridSize.X),
        "%nctaid.y" => new((warp, _) => (ulong)warp.Launch.GridSize.Y),
        "%nctaid.z" => new((warp, _) => (ulong)warp.Launch.GridSize.Z),
        "%laneid" => new((_, lane) => (ulong)lane, false),
        "%warpid" => new((warp, _) => (ulong)warp.Id),
        "%nwarpid" => new((warp, _) => (ulong)warp.Block.Warps.Length),
        "%smid" => new((warp, _) => (ulong)warp.Block.Number),
        "%nsmid" => new((warp, _) => (ulong)warp.Launch.BlockCount),
        "%gridid" => new((_, _) => 0),
        "%clock" => new((warp, _) => (uint)warp.Launch.Together.Executed),
        "%clock_hi" => new((warp, _) => (ulong)warp.Launch.Together.Executed >> 32),
        "%clock64" or "%globaltimer" => new((warp, _) => (ulong)warp.Launch.Together.Executed),
        "%globaltimer_lo" => new((warp, _) => (uint)warp.Launch.Together.Executed),
        "%globaltimer_hi" => new((warp, _) => (ulong)warp.Launch.Together.Executed >> 32),
        "%dynamic_smem_size" => new((warp, _) => (ulong)warp.Launch.DynamicSharedBytes),
        "%total_smem_size" => new((warp, _) => (ulong)warp.Launch.SharedBytes),
        "%lanemask_eq" => new((_, lane) => 1u << lane, false),
        "%lanemask_lt" => new((_, lane) => (1u << lane) - 1, false),
        "%lanemask_le" => new((_, lane) => (uint)((2UL << lane) - 1), false),
        "%lanemask_gt" => new((_, lane) => (uint)~((2UL << lane) - 1), false),
        "%lanemask_ge" => new((_, lane) => ~((1u << lane) - 1), false),
        _ => null,
    };
}
