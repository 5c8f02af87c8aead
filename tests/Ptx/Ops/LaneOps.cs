using System.Numerics;
using TpServe.Ptx.Machine;

namespace TpServe.Ptx.Ops;

/// <summary>d = f(a) in each lane.</summary>
internal sealed class UnaryOp(Target target, Source a, Func<ulong, ulong> f) : PtxOp
{
    public override void Execute(Warp warp, uint mask)
    {
        ReadOnlySpan<ulong> x = a.Lanes(warp, mask);
        Span<ulong> d = warp.Destination(target.Register, mask);
        ulong bits = target.Mask;
        if (mask == uint.MaxValue)
            for (int lane = 0; lane < d.Length; lane++)
                d[lane] = f(x[lane]) & bits;
        else
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                d[lane] = f(x[lane]) & bits;
            }
    }
}

/// <summary>d = f(a, b) in each lane.</summary>
internal sealed class BinaryOp(Target target, Source a, Source b, Func<ulong, ulong, ulong> f) : PtxOp
{
    public override void Execute(Warp warp, uint mask)
    {
        ReadOnlySpan<ulong> x = a.Lanes(warp, mask), y = b.Lanes(warp, mask);
        Span<ulong> d = warp.Destination(target.Register, mask);
        ulong bits = target.Mask;
        if (mask == uint.MaxValue)
            for (int lane = 0; lane < d.Length; lane++)
                d[lane] = f(x[lane], y[lane]) & bits;
        else
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                d[lane] = f(x[lane], y[lane]) & bits;
            }
    }
}

/// <summary>d = f(a, b, c) in each lane.</summary>
internal sealed class TernaryOp(Target target, Source a, Source b, Source c, Func<ulong, ulong, ulong, ulong> f) : PtxOp
{
    public override void Execute(Warp warp, uint mask)
    {
        ReadOnlySpan<ulong> x = a.Lanes(warp, mask), y = b.Lanes(warp, mask), z = c.Lanes(warp, mask);
        Span<ulong> d = warp.Destination(target.Register, mask);
        ulong bits = target.Mask;
        if (mask == uint.MaxValue)
            for (int lane = 0; lane < d.Length; lane++)
                d[lane] = f(x[lane], y[lane], z[lane]) & bits;
        else
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                d[lane] = f(x[lane], y[lane], z[lane]) & bits;
            }
    }
}

/// <summary>d = f(a, b, c, e) in each lane.</summary>
internal sealed class QuaternaryOp(Target target, Source[] sources, Func<ulong, ulong, ulong, ulong, ulong> f) : PtxOp
{
    public override void Execute(Warp warp, uint mask)
    {
        ReadOnlySpan<ulong> x = sources[0].Lanes(warp, mask), y = sources[1].Lanes(warp, mask), z = sources[2].Lanes(warp, mask), w = sources[3].Lanes(warp, mask);
        Span<ulong> d = warp.Destination(target.Register, mask);
        for (uint rest = mask; rest != 0; rest &= rest - 1)
        {
            int lane = BitOperations.TrailingZeroCount(rest);
            d[lane] = f(x[lane], y[lane], z[lane], w[lane]) & target.Mask;
        }
    }
}

/// <summary>Anything else that works on masks and lanes at once.</summary>
internal sealed class WarpOp(Action<Warp, uint> execute) : PtxOp
{
    public override void Execute(Warp warp, uint mask) => execute(warp, mask);
}

/// <summary>Walks the lanes of a mask.</summary>
internal static class LaneMask
{
    public static IEnumerable<int> Lanes(uint mask)
    {
        for (uint rest = mask; rest != 0; rest &= rest - 1)
            yield return BitOperations.TrailingZeroCount(rest);
    }
}
