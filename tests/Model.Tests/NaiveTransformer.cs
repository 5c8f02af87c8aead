using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Model.Weights;

namespace TpServe.Model.Tests;

/// <summary>A decoder with layer norms as its papers have it, in float64 and plain loops over one sequence: the oracle of families that have no golden files.</summary>
/// <remarks>Shares no code with the model but the reading of vectors. Tensors are the ones a hub folder would have, after renaming.</remarks>
internal sealed class NaiveTransformer(ModelCheckpoint checkpoint, string up, string down)
{
    private readonly ModelConfig _config = checkpoint.Config;

    /// <summary>Log probabilities after each token, [tokens][vocabulary].</summary>
    public double[][] Logprobs(IReadOnlyList<int> tokens)
    {
        double[] table = Numbers("model.embed_tokens.weight"), head = _config.TieEmbeddings ? table : Numbers("lm_head.weight");
        double[][] x = [.. tokens.Select(token => table[(token * _config.Hidden)..((token + 1) * _config.Hidden)])];
        for (int layer = 0; layer < _config.Layers; layer++)
        {
            string block = $"model.layers.{layer}.";
            double[][] normed = Norm(x, block + "input_layernorm"), attended = Attention(normed, block, layer);
            if (!_config.IsParallelBlock)
                x = Add(x, attended);
            double[][] input = checkpoint.Tensors.ContainsKey(block + "post_attention_layernorm.weight") ? Norm(x, block + "post_attention_layernorm") : normed;
            double[][] mlp = Mlp(input, block);
            x = _config.IsParallelBlock ? Add(Add(x, attended), mlp) : Add(x, mlp);
        }
        return [.. Norm(x, "model.norm").Select(row => LogSoftmax([.. Product(row, head).Select(value => value / _config.LogitDivisor)]))];
    }

    private double[][] Mlp(double[][] x, string block)
    {
        if (_config.IsMlpGated)
        {
            double[][] gate = Linear(x, block + "mlp.gate_proj"), values = Linear(x, block + up);
            return Linear([.. gate.Zip(values, (g, v) => g.Zip(v, (a, b) => a / (1 + Math.Exp(-a)) * b).ToArray())], block + down);
        }
        return Linear([.. Linear(x, block + up).Select(row => row.Select(Gelu).ToArray())], block + down);
    }

    private double Gelu(double x) => _config.HiddenActivation == "gelu"
        ? x / 2 * (1 + Erf(x / Math.Sqrt(2)))
        : x / 2 * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x))));

    private double[][] Attention(double[][] x, string block, int layer)
    {
        int dim = _config.HeadDim, heads = _config.Heads, kvHeads = _config.KvHeads;
        double[][] q, k, v;
        if (checkpoint.Tensors.ContainsKey(block + "self_attn.qkv_proj.weight"))
        {
            double[][] all = Linear(x, block + "self_attn.qkv_proj");
            (q, k, v) = ([.. all.Select(row => row[..(heads * dim)])], [.. all.Select(row => row[(heads * dim)..((heads + kvHeads) * dim)])], [.. all.Select(row => row[((heads + kvHeads) * dim)..])]);
        }
        else
        {
            (q, k, v) = (Linear(x, block + "self_attn.q_proj"), Linear(x, block + "self_attn.k_proj"), Linear(x, block + "self_attn.v_proj"));
        }
        if (_config.RopeLayers.Count == 0 || _config.RopeLayers[layer])
        {
            Rotate(q);
            Rotate(k);
        }
        int window = _config.SlidingLayers.Count > 0 && _config.SlidingLayers[layer] ? _config.SlidingWindow : x.Length;
        double[][] y = [.. x.Select(_ => new double[heads * dim])];
        for (int i = 0; i < x.Length; i++)
        {
            for (int head = 0; head < heads; head++)
            {
                int kv = head / (heads / kvHeads), first = Math.Max(0, i - window + 1);
                double[] scores = [.. Enumerable.Range(first, i - first + 1).Select(j => Enumerable.Range(0, dim).Sum(d => q[i][(head * dim) + d] * k[j][(kv * dim) + d]) / Math.Sqrt(dim))];
                double[] weights = [.. LogSoftmax(scores).Select(Math.Exp)];
                for (int j = first; j <= i; j++)
                    for (int d = 0; d < dim; d++)
                        y[i][(head * dim) + d] += weights[j - first] * v[j][(kv * dim) + d];
            }
        }
        return Linear(y, block + "self_attn.o_proj");
    }

    private void Rotate(double[][] rows)
    {
        int half = _config.Rope.RotaryDim / 2;
        for (int position = 0; position < rows.Length; position++)
        {
            for (int head = 0; head < rows[position].Length; head += _config.HeadDim)
            {
                for (int i = 0; i < half; i++)
                {
                    double angle = position / Math.Pow(_config.Rope.Theta, (double)i / half), a = rows[position][head + i], b = rows[position][head + half + i];
                    rows[position][head + i] = (a * Math.Cos(angle)) - (b * Math.Sin(angle));
                    rows[position][head + half + i] = (b * Math.Cos(angle)) + (a * Math.Sin(angle));
                }
            }
        }
    }

    private double[][] Norm(double[][] x, string module)
    {
        double[] w = Numbers(module + ".weight"), b = Bias(module, w.Length);
        return [.. x.Select(row =>
        {
            double mean = row.Average(), variance = row.Average(value => (value - mean) * (value - mean));
            return row.Select((value, i) => ((value - mean) / Math.Sqrt(variance + _config.NormEpsilon) * w[i]) + b[i]).ToArray();
        })];
    }

    private double[][] Linear(double[][] x, string module)
    {
        double[] w = Numbers(module + ".weight"), b = Bias(module, w.Length / x[0].Length);
        return [.. x.Select(row => Product(row, w).Zip(b, (sum, bias) => sum + bias).ToArray())];
    }

    private double[] Bias(string module, int length) => checkpoint.Tensors.ContainsKey(module + ".bias") ? Numbers(module + ".bias") : new double[length];

    private double[] Numbers(string name) => [.. VectorReader.Read(checkpoint, checkpoint.Tensors[name]).Select(value => (double)value)];

    private static double[] Product(double[] x, double[] w)
    {
        double[] y = new double[w.Length / x.Length];
        for (int i = 0; i < w.Length; i++)
            y[i / x.Length] += x[i % x.Length] * w[i];
        return y;
    }

    private static double[][] Add(double[][] a, double[][] b) => [.. a.Zip(b, (x, y) => x.Zip(y, (p, q) => p + q).ToArray())];

    private static double[] LogSoftmax(double[] scores)
    {
        double most = scores.Max(), sum = most + Math.Log(scores.Sum(score => Math.Exp(score - most)));
        return [.. scores.Select(score => score - sum)];
    }

    private static double Erf(double z)
    {
        // Simpson's rule: far more exact than the bound, and nothing the kernels use.
        const int Steps = 2000;
        double width = Math.Clamp(z, -6, 6) / Steps, sum = 0;
        for (int i = 0; i <= Steps; i++)
            sum += (i is 0 or Steps ? 1 : i % 2 == 1 ? 4 : 2) * Math.Exp(-(i * width) * (i * width));
        return 2 / Math.Sqrt(Math.PI) * sum * width / 3;
    }
}
