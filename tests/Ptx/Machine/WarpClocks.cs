using TpServe.Ptx.Memory;

namespace TpServe.Ptx.Machine;

/// <summary>What fences have published with the latest strong write of a place: to all, and to the block of that write.</summary>
internal readonly record struct Published(int Block, Clocks? Device, Clocks? InBlock);

/// <summary>The order of this warp's accesses among those of others.</summary>
/// <remarks>
/// Numerics a warp's clock counts its releases. A barrier joins what its warps know. A fence publishes what the warp knows with its
///          next strong writes; a strong read learns it at the warp's next fence. acquire and release on an access are both at once.
///          Fences count for the whole warp.
/// </remarks>
internal sealed partial class Warp
{
    private int[] _own;
    private Clocks? _foreign;

    // What fences of the device and of the block have released, and what strong reads of other blocks and of this one will teach.
    private Clocks? _released, _releasedInBlock, _pending, _pendingInBlock;

    public int Clock => _own[Id];

    /// <summary>Counts the barriers the warp has passed, its own and the block's: lanes' accesses in one phase have no order.</summary>
    public int Phase { get; private set; }

    public void NextPhase() => Phase++;

    /// <summary>Whether the access of a warp at its clock is ordered before what this warp does now.</summary>
    public bool Knows(int globalId, int clock)
    {
        int block = (globalId - 1) / Block.WarpCount, warp = (globalId - 1) % Block.WarpCount;
        if (block == Block.Number)
            return _own[warp] >= clock;
        return _foreign?.BlockOrNull(block) is { } clocks && clocks[warp] >= clock;
    }

    /// <summary>A fence; of the block's scope it orders nothing between blocks.</summary>
    public void Fence(bool isBlockOnly)
    {
        Acquire(isBlockOnly);
        Release(isBlockOnly);
    }

    public void Acquire(bool isBlockOnly = false)
    {
        Learn(ref _pendingInBlock);
        if (!isBlockOnly)
            Learn(ref _pending);
    }

    public void Release(bool isBlockOnly = false)
    {
        _releasedInBlock = Clocks.Of(Block.Number, _own, _foreign);
        if (!isBlockOnly)
            _released = _releasedInBlock;
        _own[Id]++;
    }

    public void StrongRead(Region region, int offset)
    {
        if (!Launch.Published.TryGetValue((region, offset), out Published published))
            return;
        if (published.Block == Block.Number)
            _pendingInBlock = Clocks.Join(_pendingInBlock, published.InBlock);
        else
            _pending = Clocks.Join(_pending, published.Device);
    }

    /// <summary>A read-modify-write continues the release sequence of the value it read; a plain store begins anew.</summary>
    public void StrongWrite(Region region, int offset, bool isReadModifyWrite)
    {
        Published old = default;
        if (isReadModifyWrite)
            Launch.Published.TryGetValue((region, offset), out old);
        Clocks? inBlock = Clocks.Join(old.Block == Block.Number ? old.InBlock : old.Device, _releasedInBlock);
        if (inBlock != null)
            Launch.Published[(region, offset)] = new Published(Block.Number, Clocks.Join(old.Device, _released), inBlock);
        else if (Launch.Published.Count > 0)
            Launch.Published.Remove((region, offset));
    }

    private void Learn(ref Clocks? pending)
    {
        if (pending == null)
            return;
        if (pending.BlockOrNull(Block.Number) is { } own)
            _own = Clocks.Join(_own, own);
        _foreign = Clocks.Join(_foreign, pending);
        pending = null;
    }

    /// <summary>A barrier of these warps: afterwards each knows what any knew.</summary>
    public static void JoinAll(IReadOnlyCollection<Warp> warps, IReadOnlyCollection<Warp> learners)
    {
        int[]? own = null;
        Clocks? foreign = null, released = null, releasedInBlock = null;
        foreach (Warp warp in warps)
        {
            own = own == null ? warp._own : Clocks.Join(own, warp._own);
            foreign = Clocks.Join(foreign, warp._foreign);
            released = Clocks.Join(released, warp._released);
            releasedInBlock = Clocks.Join(releasedInBlock, warp._releasedInBlock);
        }
        foreach (Warp warp in learners)
        {
            warp._own = (int[])own!.Clone();
            warp._foreign = foreign;
            warp._released = released;
            warp._releasedInBlock = releasedInBlock;
        }
        foreach (Warp warp in warps)
        {
            warp._own[warp.Id]++;
            warp.NextPhase();
        }
    }
}
