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

    /// <summary>Turns the scores [from[r], to[r]) of each row into weights; what lies outside is undefined before and after.</summary>
    /// <remarks>
    /// Shapes   scores [rows, 64], max [rows], sums [rows, 16]; factors [rows] receives the factor on everything the row has summed before,
    ///          1 where it sees nothing of the chunk.
    /// </remarks>
    public static void Join(float* scores, int rows, int* from, int* to, float softcap, float* max, float* sums, float* factors)
    {
        bool whole = true;
        for (int r = 0; r < rows; r++)
        {
            whole &= from[r] == 0 && to[r] == ChunkPositions;
            if (softcap > 0)
                Cap(scores + r * ChunkPositions, from[r], to[r], softcap);
        }
        if (whole)
        {
            JoinWhole(scores, rows, max, sums, factors);
            return;
        }
        for (int r = 0; r < rows; r++)
            factors[r] = from[r] < to[r] ? JoinPart(scores + r * ChunkPositions, from[r], to[r], max + r, sums + r * L) : 1f;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void JoinWhole(float* scores, int rows, float* max, float* sums, float* factors)
    {
        // The maxima first: a row's is a chain of shuffles, which the other rows' hide.
        for (int r = 0; r < rows; r++)
        {
            float* s = scores + r * ChunkPositions;
            Vector512<float> left = Vector512.MaxNative(Vector512.Load(s), Vector512.Load(s + L));
            Vector512<float> right = Vector512.MaxNative(Vector512.Load(s + 2 * L), Vector512.Load(s + 3 * L));
            factors[r] = max[r];
            max[r] = VectorMath.Max(Vector512.MaxNative(Vector512.MaxNative(left, right), Vector512.Create(max[r])));
        }
        for (int r = 0; r < rows; r++)
        {
            float* s = scores + r * ChunkPositions;
            Vector512<float> shift = Vector512.Create(max[r]);
            Vector512<float> w0 = VectorMath.Exp(Vector512.Load(s) - shift), w1 = VectorMath.Exp(Vector512.Load(s + L) - shift);
            w0.Store(s);
            w1.Store(s + L);
            Vector512<float> w2 = VectorMath.Exp(Vector512.Load(s + 2 * L) - shift), w3 = VectorMath.Exp(Vector512.Load(s + 3 * L) - shift);
            w2.Store(s + 2 * L);
            w3.Store(s + 3 * L);
            factors[r] = AddSum((w0 + w1) + (w2 + w3), factors[r], max[r], sums + r * L);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float JoinPart(float* scores, int from, int to, float* max, float* sums)
    {
        int firstVector = from / L, endVector = (to + L - 1) / L;

        // 1. The largest visible score. Where vectors stick out of the range, −∞ covers what is not visible.
        float before = *max;
        Vector512<float> largest = Vector512.Create(before);
        for (int v = firstVector; v < endVector; v++)
        {
            Vector512<float> s = Vector512.Load(scores + v * L);
            Vector512<int> position = Vector512<int>.Indices + Vector512.Create(v * L);
            Vector512<int> visible = Vector512.GreaterThanOrEqual(position, Vector512.Create(from)) & Vector512.LessThan(position, Vector512.Create(to));
            s = Vector512.ConditionalSelect(visible.AsSingle(), s, Vector512.Create(float.NegativeInfinity));
            s.Store(scores + v * L);
            largest = Vector512.MaxNative(s, largest);
        }
        float now = VectorMath.Max(largest);
        *max = now;

        // 2. Weights. Vectors without a visible position count as zeros in the sum, so its order does not know which were left out.
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
        return AddSum((w0 + w1) + (w2 + w3), before, now, sums);
    }

    /// <summary>sums ← sums · e^(before − now) + chunk.</summary>
    /// <returns>The factor. Where the maximum stayed it is 1: e^0 is exactly 1, so leaving the multiplication out changes no bit.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float AddSum(Vector512<float> chunk, float before, float now, float* sums)
    {
        if (before == now)
        {
            (Vector512.Load(sums) + chunk).Store(sums);
            return 1f;
        }
        Vector512<float> factor = VectorMath.Exp(Vector512.Create(before - now));
        Vector512.FusedMultiplyAdd(Vector512.Load(sums), factor, chunk).Store(sums);
        return factor.ToScalar();
    }

    private static void Cap(float* scores, int from, int to, float softcap)
    {
        Vector512<float> cap = Vector512.Create(softcap);
        for (int v = from / L; v < (to + L - 1) / L; v++)
            (VectorMath.Tanh(Vector512.Load(scores + v * L) / cap) * cap).Store(scores + v * L);
    }
}
