using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>Rotary embedding in place: (a, b) ← (a·cos − b·sin, b·cos + a·sin) over pairs (i, i + rotary/2) of every head.</summary>
/// <remarks>
/// Numerics one rounded product and one fused multiply-add for each result.
/// Source   Su et al. 2021, in the half-split form of the Hugging Face checkpoints.
/// Oracle   the reference backend (float64), NMSE ≤ 1e-13.
/// </remarks>
internal static class Rope
{
    private const int ElementsWorthThreads = 32768;

    /// <summary>Rotates every head of every row by the row's position.</summary>
    /// <exception cref="ArgumentException">The shapes disagree, or a position is not in the table.</exception>
    public static void Run(CpuThreads threads, Tensor x, Tensor positions, Tensor table, int headDim)
    {
        Require.Groups(x, headDim);
        Require.Type(x, ElementType.Float32);
        Require.Type(table, ElementType.Float32);
        Require.Shape(positions, x.Rows, 1, ElementType.Int32);
        Require.That(table.Columns % 2 == 0 && table.Columns <= headDim, $"A rotary width of {table.Columns} does not fit a head of {headDim}.");
        Work work = new(x, positions, table, headDim);
        threads.Run(ref work, x.Rows, Math.Max(1, ElementsWorthThreads / Math.Max(1, x.Columns)));
    }

    private readonly unsafe struct Work(Tensor x, Tensor positions, Tensor table, int headDim) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            int half = table.Columns / 2;
            for (int row = first; row < end; row++)
            {
                int position = positions.HostRow<int>(row)[0];
                Require.That((uint)position < (uint)table.Rows, $"Position {position} of row {row} is not in the rotary table of {table.Rows} positions.");
                float* cos = table.HostRow<float>(position);
                float* values = x.HostRow<float>(row);
                for (int head = 0; head < x.Columns; head += headDim)
                    Rotate(values + head, values + head + half, cos, cos + half, half);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Rotate(float* a, float* b, float* cos, float* sin, int half)
        {
            int i = 0;
            for (; i <= half - VectorMath.Lanes; i += VectorMath.Lanes)
            {
                Vector512<float> va = Vector512.Load(a + i), vb = Vector512.Load(b + i), c = Vector512.Load(cos + i), s = Vector512.Load(sin + i);
                Vector512.FusedMultiplyAdd(-vb, s, va * c).Store(a + i);
                Vector512.FusedMultiplyAdd(va, s, vb * c).Store(b + i);
            }
            for (; i < half; i++)
            {
                float va = a[i], vb = b[i];
                a[i] = MathF.FusedMultiplyAdd(-vb, sin[i], va * cos[i]);
                b[i] = MathF.FusedMultiplyAdd(va, sin[i], vb * cos[i]);
            }
        }
    }
}
