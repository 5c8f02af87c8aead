using TpServe.Ptx.Memory;

namespace TpServe.Ptx.Machine;

/// <summary>The order of this warp's accesses among those of others.</summary>
/// <remarks>
/// Numerics a warp's clock counts its releases. A barrier joins what its warps know. A fence publishes what the warp knows with its
///          next strong writes; a strong read learns it at the warp's next fence. acquire and release on an access are both at once.
///          Fences count for the whole warp.
/// </remarks>
internal sealed partial class Warp
{
    private int[] _own;
    private Clocks? _foreign, _released, _pending;

    public int Clock => _own[Id];

    /// <summary>Whether the access of a warp at its clock is ordered before what this warp does now.</summary>
    public bool Knows(int globalId, int clock)
    {
        int block = (globalId - 1) / Block.WarpCount, warp = (globalId - 1) % Block.WarpCount;
        if (block == Block.Number)
            return _own[warp] >= clock;
        return _foreign?.BlockOrNull(block) is { } clocks && clocks[warp] >= clock;
    }

    public void Fence()
    {
        Acquire();
        Release();
    }

    public void Acquire()
    {
        if (_pending == null)
            return;
        if (_pending.BlockOrNull(Block.Number) is { } own)
            _own = Clocks.Join(_own, own);
        _foreign = Clocks.Join(_foreign, _pending);
        _pending = null;
    }

    public void Release()
    {
        _released = Clocks.Of(Block.Number, _own, _foreign);
        _own[Id]++;
    }

    public void StrongRead(Region region, int offset)
    {
        if (Launch.Published.TryGetValue((region, offset), out Clocks? clocks))
            _pending = Clocks.Join(_pending, clocks);
    }

    /// <summary>A read-modify-write continues the release sequence of the value it read; a plain store begins anew.</summary>
    public void StrongWrite(Region region, int offset, bool isReadModifyWrite)
    {
        Clocks? old = null;
        if (isReadModifyWrite)
            Launch.Published.TryGetValue((region, offset), out old);
        Clocks? clocks = Clocks.Join(old, _released);
        if (clocks != null)
            Launch.Published[(region, offset)] = clocks;
        else if (Launch.Published.Count > 0)
            Launch.Published.Remove((region, offset));
    }

    /// <summary>A barrier of these warps: afterwards each knows what any knew.</summary>
    public static void JoinAll(IReadOnlyCollection<Warp> warps, IReadOnlyCollection<Warp> learners)
    {
        int[]? own = null;
        Clocks? foreign = null, released = null;
        foreach (Warp warp in warps)
        {
            own = own == null ? warp._own : Clocks.Join(own, warp._own);
            foreign = Clocks.Join(foreign, warp._foreign);
            released = Clocks.Join(released, warp._released);
        }
        foreach (Warp warp in learners)
        {
            warp._own = (int[])own!.Clone();
            warp._foreign = foreign;
            warp._released = released;
        }
        foreach (Warp warp in warps)
            warp._own[warp.Id]++;
    }
}
