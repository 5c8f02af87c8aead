using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>The k largest of each row in descending order, ties to the lower index; a NaN counts as −∞.</summary>
/// <remarks>
/// A sorted list of the best so far is kept in the output itself; 64 values at a time are compared with its last one, so almost all of a
/// vocabulary passes without a branch taken.
/// Cost     one read of the row; about k · ln(v / k) insertions where the values come in random order.
/// Oracle   a full stable sort: equal.
/// </remarks>
internal static class TopK
{
    /// <summary>The largest k.</summary>
    public const int Limit = 64;

    private const int ElementsWorthThreads = 65536;

    /// <summary>Finds the best of each row.</summary>
    /// <exception cref="ArgumentException">The shapes disagree, or k is out of range.</exception>
    public static void Run(CpuThreads threads, Tensor x, int k, int firstId, Tensor values, Tensor ids)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(values, x.Rows, k);
        Require.Shape(ids, x.Rows, k, ElementType.Int32);
        Require.That(k is > 0 and <= Limit, $"k is {k}, the limit is {Limit}.");
        Work work = new(x, k, firstId, values, ids);
        threads.Run(ref work, x.Rows, Math.Max(1, ElementsWorthThreads / Math.Max(1, x.Columns)));
    }

    private readonly unsafe struct Work(Tensor x, int k, int firstId, Tensor values, Tensor ids) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            for (int row = first; row < end; row++)
                Best(x.HostRow<float>(row), x.Columns, k, firstId, values.HostRow<float>(row), ids.HostRow<int>(row));
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Best(float* x, int count, int k, int firstId, float* best, int* ids)
        {
            const int L = VectorMath.Lanes;

            // 1. The first k values, whatever they are.
            int held = 0, i = 0;
            for (; i < count && held < k; i++, held++)
                Insert(best, ids, held, Ordered(x[i]), firstId + i);
            for (; held < k; held++)
            {
                best[held] = float.NegativeInfinity;
                ids[held] = -1;
            }

            // 2. Of the rest only what is greater than the last of the list: equal values lost to a lower index. A NaN is never greater.
            for (; i <= count - 4 * L; i += 4 * L)
            {
                Vector512<float> least = Vector512.Create(best[k - 1]);
                Vector512<float> greater =
                    (Vector512.GreaterThan(Vector512.Load(x + i), least) | Vector512.GreaterThan(Vector512.Load(x + i + L), least))
                    | (Vector512.GreaterThan(Vector512.Load(x + i + 2 * L), least) | Vector512.GreaterThan(Vector512.Load(x + i + 3 * L), least));
                if (greater != Vector512<float>.Zero)
                    Scan(x, i, i + 4 * L, k, firstId, best, ids);
            }
            Scan(x, i, count, k, firstId, best, ids);
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void Scan(float* x, int from, int to, int k, int firstId, float* best, int* ids)
        {
            for (int i = from; i < to; i++)
                if (x[i] > best[k - 1])
                    Insert(best, ids, k - 1, x[i], firstId + i);
        }

        /// <summary>Puts a value behind all that are not smaller; what stood at place <paramref name="last"/> is overwritten.</summary>
        private static void Insert(float* best, int* ids, int last, float value, int id)
        {
            int place = last;
            for (; place > 0 && best[place - 1] < value; place--)
            {
                best[place] = best[place - 1];
                ids[place] = ids[place - 1];
            }
            best[place] = value;
            ids[place] = id;
        }

        private static float Ordered(float value) => float.IsNaN(value) ? float.NegativeInfinity : value;
    }
}
