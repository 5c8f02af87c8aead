using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>One chunk of scores of one row joins the row's running softmax.</summary>
/// <remarks>
/// Numerics m' = max(m, scores); weights e^(s − m'); what was summed before is multiplied by e^(m − m'); the weights of a chunk are added lane
///          by lane as (v0 + v1) + (v2 + v3), then to 16 running sums. Positions outside the row's range count as nothing.
/// Source   Milakov and Gimelshein 2018, algorithm 3, over chunks.
/// </remarks>
internal static unsafe class OnlineSoftmax
{
    /// <summary>Positions of a chunk.</summary>
    public const int ChunkPositions = 64;

    private const int L = VectorMath.Lanes;

    /// <summary>Turns the scores [from, to) of a chunk into weights; what lies outside is undefined before and after.</summary>
    /// <returns>The factor on everything the row has summed before.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Join(float* scores, int from, int to, float softcap, float* max, float* sums)
    {
        int firstVector = from / L, endVector = (to + L - 1) / L;

        // 1. The largest visible score. Where vectors stick out of the range, −∞ covers what is not visible.
        Vector512<float> largest = Vector512.Create(*max);
        for (int v = firstVector; v < endVector; v++)
        {
            Vector512<float> s = Vector512.Load(scores + v * L);
            if (softcap > 0)
                s = VectorMath.Tanh(s / Vector512.Create(softcap)) * Vector512.Create(softcap);
            if (v * L < from || v * L + L > to)
            {
                Vector512<int> position = Vector512<int>.Indices + Vector512.Create(v * L);
                Vector512<int> visible = Vector512.GreaterThanOrEqual(position, Vector512.Create(from)) & Vector512.LessThan(position, Vector512.Create(to));
                s = Vector512.ConditionalSelect(visible.AsSingle(), s, Vector512.Create(float.NegativeInfinity));
            }
            s.Store(scores + v * L);
            largest = Vector512.MaxNative(s, largest);
        }
        float before = *max, now = VectorMath.Max(largest);
        *max = now;

        // 2. Weights, and their sum in an order that does not know which vectors were left out.
        Vector512<float> shift = Vector512.Create(now);
        Vector512<float> w0 = default, w1 = default, w2 = default, w3 = default;
        for (int v = firstVector; v < endVector; v++)
        {
            Vector512<float> w = VectorMath.Exp(Vector512.Load(scores + v * L) - shift);
            w.Store(scores + v * L);
            switch (v)
            {
                case 0: w0 = w; break;
                case 1: w1 = w; break;
                case 2: w2 = w; break;
                default: w3 = w; break;
            }
        }
        Vector512<float> sum = (w0 + w1) + (w2 + w3);

        // 3. e^0 is exactly 1, so leaving the multiplication out changes no bit.
        if (before == now)
        {
            (Vector512.Load(sums) + sum).Store(sums);
            return 1f;
        }
        Vector512<float> factor = VectorMath.Exp(Vector512.Create(before - now));
        Vector512.FusedMultiplyAdd(Vector512.Load(sums), factor, sum).Store(sums);
        return factor.ToScalar();
    }
}
