using System.Numerics;
using TpServe.Ptx.Memory;
using TpServe.Ptx.Ops;

namespace TpServe.Ptx.Machine;

/// <summary>A block: its warps, its shared memory, its 16 barriers.</summary>
internal sealed class Block
{
    private sealed record Arrival(Warp Warp, Strand? Strand, uint Mask, BarrierOp Op, uint Values);

    private readonly List<Arrival>?[] _barriers = new List<Arrival>?[16];
    private int _waiting;

    public Block(Launch launch, int number)
    {
        Launch = launch;
        Number = number;
        (int x, int y, _) = launch.GridSize;
        Position = (number % x, number / x % y, number / (x * y));
        int threads = launch.BlockThreads;
        WarpCount = (threads + Warp.Lanes - 1) / Warp.Lanes;
        Shared = launch.NewShared();
        Warps = new Warp[WarpCount];
        for (int i = 0; i < WarpCount; i++)
            Warps[i] = new Warp(this, i, threads - i * Warp.Lanes);
    }

    public Launch Launch { get; }
    /// <summary>The most warps of a block.</summary>
    public const int MostWarps = 32;

    /// <summary>Its number in the grid, and among the blocks of all launches that run together.</summary>
    public int Number { get; }

    public int Id => Launch.FirstBlock + Number;
    public (int X, int Y, int Z) Position { get; }
    public int WarpCount { get; }
    public Warp[] Warps { get; }
    public Region Shared { get; }
    public bool IsDone => Warps.All(warp => warp.IsDone);

    /// <summary>The warp's running strand arrives at a barrier; count is the number of threads it takes, 0 for the whole block.</summary>
    public void Arrive(Warp warp, BarrierOp op, uint mask, int barrier, int count, uint values)
    {
        if ((uint)barrier >= _barriers.Length)
            throw warp.Fault(PtxFault.Launch, mask, $"names barrier {barrier}, of 16");
        List<Arrival> arrivals = _barriers[barrier] ??= [];
        bool waits = !op.OnlyArrives;
        if (waits)
        {
            warp.Current.Waits = true;
            _waiting++;
        }
        arrivals.Add(new Arrival(warp, waits ? warp.Current : null, mask, op, values));
        Complete(barrier, count);
    }

    /// <summary>Lanes have ended: a barrier may now be complete.</summary>
    public void Recheck()
    {
        if (_waiting == 0)
            return;
        for (int barrier = 0; barrier < _barriers.Length; barrier++)
            if (_barriers[barrier] is { Count: > 0 } arrivals && arrivals[0].Op.Count == null)
                Complete(barrier, 0);
    }

    private void Complete(int barrier, int count)
    {
        List<Arrival> arrivals = _barriers[barrier]!;
        int expected = count > 0 ? count : Warps.Sum(warp => BitOperations.PopCount(warp.Live));
        int arrived = arrivals.Sum(arrival => BitOperations.PopCount(arrival.Mask));
        if (arrived < expected)
            return;
        _barriers[barrier] = null;
        Warp.JoinAll([.. arrivals.Select(arrival => arrival.Warp).Distinct()], [.. arrivals.Where(arrival => arrival.Strand != null).Select(arrival => arrival.Warp).Distinct()]);
        int trues = arrivals.Sum(arrival => BitOperations.PopCount(arrival.Mask & arrival.Values));
        foreach (Arrival arrival in arrivals)
        {
            if (arrival.Strand == null)
                continue;
            arrival.Op.Finish(arrival.Warp, arrival.Mask, trues, arrived);
            arrival.Strand.Waits = false;
            _waiting--;
            arrival.Warp.MeetAfterBarrier(arrival.Strand);
        }
    }
}
