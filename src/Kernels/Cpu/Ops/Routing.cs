using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>Chooses each row's experts from its router's logits.</summary>
/// <remarks>
/// Numerics exponentials by VectorMath, sums over all experts lane by lane in ascending id and then VectorMath's, those over the chosen ones in ascending id.
/// Cost     k passes over a row's logits: nothing beside one expert.
/// Oracle   the reference backend: equal ids, weights to 1e-6.
/// </remarks>
internal static unsafe class Routing
{
    private const int L = VectorMath.Lanes;
    private const int ElementsWorthThreads = 4096;

    /// <summary>Chooses for every row.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void Run(CpuThreads threads, Tensor logits, Tensor? correction, RouterShape shape, Tensor ids, Tensor weights)
    {
        ExpertShapes.OfRoute(logits, correction, shape, ids, weights);
        Work work = new(logits, correction, shape, ids, weights);
        threads.Run(ref work, logits.Rows, Math.Max(1, ElementsWorthThreads / shape.Experts));
    }

    private readonly struct Work(Tensor logits, Tensor? correction, RouterShape shape, Tensor ids, Tensor weights) : IParallelWork
    {
        [SkipLocalsInit]
        public void Execute(int first, int end, int thread)
        {
            int padded = (shape.Experts + L - 1) / L * L;
            float* scores = stackalloc float[2 * padded], choice = scores + padded, groups = stackalloc float[shape.Groups];
            float* added = correction is { } vector ? vector.HostRow<float>(0) : null;
            for (int row = first; row < end; row++)
            {
                float* own = logits.HostRow<float>(row);
                float sum = Score(own, added, shape, scores, choice);
                if (shape.TopGroups < shape.Groups)
                    KeepGroups(choice, shape, added is not null, groups);
                Choose(choice, scores, shape, sum, ids.HostRow<int>(row), weights.HostRow<float>(row));
                if (shape.Shared == SharedExpert.None)
                    continue;
                ids.HostRow<int>(row)[shape.PerRow] = shape.Experts;
                weights.HostRow<float>(row)[shape.PerRow] = shape.Shared == SharedExpert.Gated ? Sigmoid(Vector512.Create(own[shape.Experts])).ToScalar() : 1f;
            }
        }
    }

    /// <summary>Scores and choices; returns the sum of the scores where they are parts of it.</summary>
    private static float Score(float* logits, float* correction, RouterShape shape, float* scores, float* choice)
    {
        int count = shape.Experts;
        float largest = float.NegativeInfinity;
        for (int i = 0; i < count; i++)
            largest = logits[i] > largest ? logits[i] : largest;
        Vector512<float> sum = Vector512<float>.Zero;
        for (int i = 0; i < count; i += L)
        {
            int some = Math.Min(L, count - i);
            Vector512<float> lanes = some == L ? Vector512.Load(logits + i) : VectorMath.LoadPartial(logits + i, some);
            Vector512<float> score = shape.IsSigmoid ? Sigmoid(lanes) : VectorMath.Exp(lanes - Vector512.Create(largest));
            score.Store(scores + i);
            sum += some == L ? score : VectorMath.LoadPartial(scores + i, some);
        }
        float total = shape.IsSigmoid ? 1f : VectorMath.Sum(sum);
        for (int i = 0; i < count; i++)
        {
            float value = correction is null ? logits[i] : (scores[i] / total) + correction[i];
            choice[i] = float.IsNaN(value) ? float.NegativeInfinity : value;
        }
        return total;
    }

    /// <summary>Marks the experts of all but the best groups with a NaN.</summary>
    private static void KeepGroups(float* choice, RouterShape shape, bool byTwo, float* values)
    {
        int size = shape.Experts / shape.Groups;
        for (int group = 0; group < shape.Groups; group++)
        {
            float best = float.NegativeInfinity, second = float.NegativeInfinity;
            for (int i = group * size; i < (group + 1) * size; i++)
            {
                if (choice[i] > best)
                    (best, second) = (choice[i], best);
                else if (choice[i] > second)
                    second = choice[i];
            }
            float value = byTwo && size > 1 ? best + second : best;
            values[group] = float.IsNaN(value) ? float.NegativeInfinity : value;
        }
        for (int taken = 0; taken < shape.TopGroups; taken++)
            values[Best(values, shape.Groups)] = float.NaN;
        for (int group = 0; group < shape.Groups; group++)
            if (!float.IsNaN(values[group]))
                new Span<float>(choice + (group * size), size).Fill(float.NaN);
    }

    /// <summary>The best of what is left, in ascending id, and their weights.</summary>
    private static void Choose(float* choice, float* scores, RouterShape shape, float total, int* ids, float* weights)
    {
        for (int taken = 0; taken < shape.PerRow; taken++)
        {
            int best = Best(choice, shape.Experts), place = taken;
            choice[best] = float.NaN;
            for (; place > 0 && ids[place - 1] > best; place--)
                ids[place] = ids[place - 1];
            ids[place] = best;
        }
        float sum = 0f;
        for (int i = 0; i < shape.PerRow; i++)
            sum += scores[ids[i]];
        float divisor = shape.Renormalises ? shape.IsSigmoid ? sum + RouterShape.LeastSum : sum : total;
        for (int i = 0; i < shape.PerRow; i++)
            weights[i] = scores[ids[i]] / divisor * shape.Scale;
    }

    /// <summary>The largest that is not NaN, the first of equals.</summary>
    private static int Best(float* values, int count)
    {
        int best = 0;
        while (float.IsNaN(values[best]))
            best++;
        for (int i = best + 1; i < count; i++)
            if (values[i] > values[best])
                best = i;
        return best;
    }

    private static Vector512<float> Sigmoid(Vector512<float> x) => Vector512<float>.One / (VectorMath.Exp(-x) + Vector512<float>.One);
}
