using TpServe.Ptx.Memory;

namespace TpServe.Ptx.Machine;

/// <summary>What fences have published with the latest strong write of a place: for the block, the device and the system of that write.</summary>
internal sealed record Published(int Block, Launch Device, Clocks?[] Released);

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

    // By scope (block, device, system): what fences have released, and what strong reads of writes at that distance will teach.
    private readonly Clocks?[] _released = new Clocks?[3], _pending = new Clocks?[3];

    public int Clock => _own[Id];

    /// <summary>Counts the barriers the warp has passed, its own and the block's: lanes' accesses in one phase have no order.</summary>
    public int Phase { get; private set; }

    public void NextPhase() => Phase++;

    /// <summary>Whether the access of a warp at its clock is ordered before what this warp does now.</summary>
    public bool Knows(int globalId, int clock)
    {
        int block = (globalId - 1) / Block.MostWarps, warp = (globalId - 1) % Block.MostWarps;
        if (block == Block.Id)
            return _own[warp] >= clock;
        return _foreign?.BlockOrNull(block) is { } clocks && clocks[warp] >= clock;
    }

    /// <summary>How strong accesses of this warp and another one must be to race never.</summary>
    public Strength Between(int globalId)
    {
        int block = (globalId - 1) / Block.MostWarps;
        return block == Block.Id ? Strength.Block : Launch.Owns(block) ? Strength.Device : Strength.System;
    }

    /// <summary>A fence orders the accesses of threads of its scope.</summary>
    public void Fence(Strength scope)
    {
        Acquire(scope);
        Release(scope);
    }

    public void Acquire(Strength scope)
    {
        for (int i = 0; i < (int)scope; i++)
            Learn(ref _pending[i]);
    }

    public void Release(Strength scope)
    {
        Clocks snapshot = Clocks.Of(Block.Id, _own, _foreign);
        for (int i = 0; i < (int)scope; i++)
            _released[i] = snapshot;
        _own[Id]++;
    }

    public void StrongRead(Region region, int offset)
    {
        if (!Launch.Together.Published.TryGetValue((region, offset), out Published? published))
            return;
        int distance = Distance(published);
        _pending[distance] = Clocks.Join(_pending[distance], published.Released[distance]);
    }

    /// <summary>A read-modify-write continues the release sequence of the value it read; a plain store begins anew.</summary>
    public void StrongWrite(Region region, int offset, bool isReadModifyWrite)
    {
        Dictionary<(Region, int), Published> all = Launch.Together.Published;
        Published? old = null;
        if (isReadModifyWrite)
            all.TryGetValue((region, offset), out old);
        Clocks?[] released = new Clocks?[3];
        for (int i = 0; i < released.Length; i++)
            released[i] = Clocks.Join(old?.Released[Math.Max(i, Distance(old))], _released[i]);
        if (released[0] != null)
            all[(region, offset)] = new Published(Block.Id, Launch, released);
        else if (all.Count > 0)
            all.Remove((region, offset));
    }

    private int Distance(Published published) => published.Block == Block.Id ? 0 : published.Device == Launch ? 1 : 2;

    private void Learn(ref Clocks? pending)
    {
        if (pending == null)
            return;
        if (pending.BlockOrNull(Block.Id) is { } own)
            _own = Clocks.Join(_own, own);
        _foreign = Clocks.Join(_foreign, pending);
        pending = null;
    }

    /// <summary>A barrier of these warps: afterwards each knows what any knew.</summary>
    public static void JoinAll(IReadOnlyCollection<Warp> warps, IReadOnlyCollection<Warp> learners)
    {
        int[]? own = null;
        Clocks? foreign = null;
        Clocks?[] released = new Clocks?[3];
        foreach (Warp warp in warps)
        {
            own = own == null ? warp._own : Clocks.Join(own, warp._own);
            foreign = Clocks.Join(foreign, warp._foreign);
            for (int i = 0; i < released.Length; i++)
                released[i] = Clocks.Join(released[i], warp._released[i]);
        }
        foreach (Warp warp in learners)
        {
            warp._own = (int[])own!.Clone();
            warp._foreign = foreign;
            released.CopyTo(warp._released, 0);
        }
        foreach (Warp warp in warps)
        {
            warp._own[warp.Id]++;
            warp.NextPhase();
        }
    }
}
