namespace TpServe.Kernels.Reference;

/// <summary>Mixtures of experts row by row: scores in float64, products of leaves in float32, experts in ascending id inside a leaf.</summary>
internal static class ReferenceExperts
{
    /// <summary>Chooses each row's experts.</summary>
    public static void Route(Tensor logits, Tensor? correction, RouterShape shape, Tensor ids, Tensor weights)
    {
        ExpertShapes.OfRoute(logits, correction, shape, ids, weights);
        for (int row = 0; row < logits.Rows; row++)
            Route(logits.HostSpan<float>(row), correction is { } vector ? vector.HostSpan<float>(0) : default, shape, ids.HostSpan<int>(row), weights.HostSpan<float>(row));
    }

    private static void Route(ReadOnlySpan<float> logits, ReadOnlySpan<float> correction, RouterShape shape, Span<int> ids, Span<float> weights)
    {
        // 1. Scores, and what is chosen by.
        double[] scores = new double[shape.Experts], choice = new double[shape.Experts];
        double largest = double.NegativeInfinity, total = 0;
        foreach (float logit in logits[..shape.Experts])
            largest = Math.Max(largest, float.IsNaN(logit) ? double.NegativeInfinity : logit);
        for (int i = 0; i < scores.Length; i++)
            total += scores[i] = shape.IsSigmoid ? Sigmoid(logits[i]) : Math.Exp(logits[i] - largest);
        for (int i = 0; i < scores.Length; i++)
        {
            if (!shape.IsSigmoid)
                scores[i] /= total;
            choice[i] = correction.IsEmpty ? logits[i] : scores[i] + correction[i];
            if (double.IsNaN(choice[i]))
                choice[i] = double.NegativeInfinity;
        }

        // 2. Groups.
        int size = shape.Experts / shape.Groups;
        bool byTwo = !correction.IsEmpty;
        HashSet<int> groups = [.. Enumerable.Range(0, shape.Groups)
            .OrderByDescending(group => choice.Skip(group * size).Take(size).OrderDescending().Take(byTwo ? 2 : 1).Sum()).ThenBy(group => group).Take(shape.TopGroups)];

        // 3. The best, in ascending id.
        int[] best = [.. Enumerable.Range(0, shape.Experts).Where(expert => groups.Contains(expert / size)).OrderByDescending(expert => choice[expert]).ThenBy(expert => expert).Take(shape.PerRow).Order()];
        double sum = best.Sum(expert => scores[expert]) + (shape.IsSigmoid ? RouterShape.LeastSum : 0);
        for (int i = 0; i < best.Length; i++)
        {
            ids[i] = best[i];
            weights[i] = (float)(scores[best[i]] / (shape.Renormalises ? sum : 1) * shape.Scale);
        }

        // 4. The shared one.
        if (shape.Shared == SharedExpert.None)
            return;
        ids[^1] = shape.Experts;
        weights[^1] = shape.Shared == SharedExpert.Gated ? (float)Sigmoid(logits[^1]) : 1f;
    }

    /// <summary>The partial sums of each row's experts.</summary>
    public static void Pieces(Tensor x, Tensor ids, Tensor weights, ExpertMlp mlp, Tensor pieces)
    {
        int outputs = ExpertShapes.OfPieces(x, ids, weights, mlp, pieces.Columns, pieces), leaves = mlp.Merges.Count;
        for (int row = 0; row < x.Rows; row++)
        {
            float[] sums = new float[leaves * outputs];
            for (int i = 0; i < ids.Columns; i++)
            {
                int id = ids.HostSpan<int>(row)[i];
                ExpertStack? stack = id < mlp.Routed.Count ? mlp.Routed : mlp.Shared;
                if (stack is not null)
                    Add(x.HostSpan<float>(row), stack, id < mlp.Routed.Count ? id : 0, weights.HostSpan<float>(row)[i], mlp.Activation, outputs, sums);
            }
            int depth = 0;
            for (int leaf = 0; leaf < leaves; leaf++)
            {
                sums.AsSpan(leaf * outputs, outputs).CopyTo(sums.AsSpan(depth++ * outputs));
                for (int merge = 0; merge < mlp.Merges[leaf]; merge++, depth--)
                    for (int i = 0; i < outputs; i++)
                        sums[((depth - 2) * outputs) + i] += sums[((depth - 1) * outputs) + i];
            }
            for (int piece = 0; piece < depth; piece++)
                sums.AsSpan(piece * outputs, outputs).CopyTo(pieces.HostSpan<float>((piece * x.Rows) + row));
        }
    }

    /// <summary>One expert's products, leaf by leaf, on one row.</summary>
    private static void Add(ReadOnlySpan<float> x, ExpertStack stack, int expert, float weight, ExpertActivation activation, int outputs, float[] sums)
    {
        int columns = stack.Columns, stride = ExpertStack.Stride(columns), downStride = ExpertStack.Stride(outputs);
        float[] gate = new float[columns], up = new float[columns], products = new float[stack.Down.Leaves.Count * outputs];
        ReferenceBackend.Own(stack.Gate).Pieces(x, expert * stride, columns, gate);
        ReferenceBackend.Own(stack.Up).Pieces(x, expert * stride, columns, up);
        for (int i = 0; i < columns; i++)
            gate[i] = (float)Activate(gate[i] + (stack.GateBias?.HostSpan<float>(expert)[i] ?? 0f), up[i] + (stack.UpBias?.HostSpan<float>(expert)[i] ?? 0f), activation);
        ReferenceBackend.Own(stack.Down).Pieces(gate, expert * downStride, outputs, products);
        for (int i = 0; i < products.Length; i++)
        {
            float product = products[i];
            if (i < outputs && stack.DownBias is { } bias)
                product += bias.HostSpan<float>(expert)[i];
            sums[i] = MathF.FusedMultiplyAdd(weight, product, sums[i]);
        }
    }

    private static double Activate(float gate, float up, ExpertActivation activation)
    {
        if (activation.Alpha == 0f)
            return ReferenceElementwise.Activate(gate, activation.Function) * up;
        double limited = Math.Min(gate, activation.Limit);
        return limited * Sigmoid(activation.Alpha * limited) * (Math.Clamp(up, -activation.Limit, activation.Limit) + 1);
    }

    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));
}
