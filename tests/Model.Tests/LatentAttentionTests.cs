using System.Buffers.Binary;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>Latent attention: against plain loops that never absorb anything, however a file stores keys and values, and what is refused.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class LatentAttentionTests
{
    private static readonly Job Job = new() { Prompt = [.. Enumerable.Range(7, 33)], NewTokens = 8, Chunk = 20, PromptTopLogprobs = 3 };

    /// <summary>The whole model, dense, with keys and values of every head made from the latent row.</summary>
    [Test]
    public void Model_OfLatentAttention_MatchesLoopsWithoutAbsorption([Values] bool hasQueryRank, [Values("reference", "cpu")] string device)
    {
        using RandomCheckpoint checkpoint = Dense(hasQueryRank);
        int[] prompt = [.. Job.Prompt];
        double[][] expected = new PlainLatentModel(checkpoint).Logprobs(prompt);
        JobResult actual = RankGroup.RunAlone(checkpoint, device == "cpu" ? RankSetup.CpuFloat32 : RankSetup.Reference, [Job with { Prompt = prompt, NewTokens = 0 }])[0];
        Assert.Multiple(() =>
        {
            for (int row = 0; row + 1 < prompt.Length; row++)
                Assert.That(actual.Rows[row].Logprob, Is.EqualTo(expected[row][prompt[row + 1]]).Within(1e-4), $"position {row}");
        });
    }

    [Test]
    public void Turned_KeysAndValuesApart_HaveTheBitsOfOneMatrix([Values(1, 3)] int degree)
    {
        using RandomCheckpoint together = OddModels.Create("deepseek_v3"), apart = OddModels.Create("deepseek_v3");
        LatentConfig latent = together.Config.Latent!;
        int heads = together.Config.Heads, rank = latent.KvRank;
        for (int layer = 0; layer < together.Config.Layers; layer++)
        {
            string block = $"model.layers.{layer}.self_attn.";
            float[] both = PlainLatentModel.Values(together, $"{block}kv_b_proj.weight");
            float[] keys = new float[heads * rank * latent.PlainDim], values = new float[heads * latent.ValueDim * rank];
            for (int head = 0; head < heads; head++)
            {
                ReadOnlySpan<float> of = both.AsSpan(head * latent.KeyValueDim * rank, latent.KeyValueDim * rank);
                for (int row = 0; row < latent.PlainDim; row++)
                    for (int i = 0; i < rank; i++)
                        keys[(((head * rank) + i) * latent.PlainDim) + row] = of[(row * rank) + i];
                of[(latent.PlainDim * rank)..].CopyTo(values.AsSpan(head * latent.ValueDim * rank));
            }
            apart.Remove($"{block}kv_b_proj.weight");
            apart.Add($"{block}k_b_proj.weight", TensorType.F32, [heads, rank, latent.PlainDim], keys);
            apart.Add($"{block}v_b_proj.weight", TensorType.F32, [heads, latent.ValueDim, rank], values);
        }
        Assert.That(Text(apart, degree), Is.EqualTo(Text(together, 1)));
    }

    [Test]
    public void Bits_AnyThreadsInstructionsAndBlocks_AreTheSame([Values("deepseek_v3", "deepseek_v2-q8_0")] string name)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(name);
        string expected = Text(checkpoint, 1, RankSetup.CpuDefault with { Backend = () => new CpuBackend(threads: 1, IsaPath.Scalar) });
        foreach (IsaPath isa in Isa.Supported)
            foreach (int threads in new[] { 1, 3 })
                Assert.That(Text(checkpoint, 1, RankSetup.CpuDefault with { Backend = () => new CpuBackend(threads, isa) }), Is.EqualTo(expected), $"{isa.Name()}, {threads} threads");
        // Blocks of 12 are converted element by element.
        Assert.That(Text(checkpoint, 2, RankSetup.CpuDefault with { BlockTokens = 12, StaleNaN = true }), Is.EqualTo(expected));
    }

    [Test]
    public void Cache_OfEveryType_KeepsTheBitsAtAnyDegree([Values(ElementType.Float32, ElementType.BFloat16, ElementType.Q8)] ElementType type)
    {
        using RandomCheckpoint checkpoint = OddModels.Create("deepseek_v2-q8_0");
        RankSetup setup = RankSetup.CpuDefault with { KvType = type };
        Assert.That(Text(checkpoint, 3, setup with { BlockTokens = 8 }), Is.EqualTo(Text(checkpoint, 1, setup)));
    }

    [Test]
    public void Cache_OfALatentModel_HoldsOneRowATokenOnEveryRank()
    {
        using RandomCheckpoint checkpoint = OddModels.Create("deepseek_v3");
        ModelConfig config = checkpoint.Config;
        using CpuBackend ops = new(threads: 1);
        Assert.Multiple(() =>
        {
            for (int rank = 0; rank < 3; rank++)
            {
                ShardPlan plan = new(config, Partition.Even(config, 3), rank);
                using KvCache cache = new(config, plan, ElementType.Float16, blockTokens: 16, blocks: 2, ops);
                Assert.That(KvCache.BytesPerBlock(config, plan, ElementType.Float16, 16), Is.EqualTo(16 * 2 * config.Layers * (24 + 8)), $"rank {rank}");
                Assert.That(cache.Bytes, Is.EqualTo(2 * KvCache.BytesPerBlock(config, plan, ElementType.Float16, 16)), $"rank {rank}");
            }
        });
    }

    [Test]
    public void Rebalanced_FromHeldWeights_ReadsNothingAndHasTheSameSize()
    {
        using RandomCheckpoint checkpoint = Dense(hasQueryRank: true);
        using CpuBackend ops = new(threads: 1);
        using Collectives.ICommunicator comm = Collectives.Local.LocalGroup.Create(1, TimeSpan.FromSeconds(10), epoch: 1)[0];
        ShardPlan plan = new(checkpoint.Config, Partition.Even(checkpoint.Config, 1), 0);
        using DenseTransformer first = Weights.WeightLoader.Load(checkpoint, plan, ops, comm, new ModelLimits(128, 64));
        long bytes = first.WeightBytes;
        using DenseTransformer second = Weights.WeightLoader.Load(checkpoint, plan, ops, comm, new ModelLimits(128, 64), before: first.TakeWeights());
        Assert.That((second.ReadBytes, second.WeightBytes), Is.EqualTo((0L, bytes)));
    }

    [Test]
    public void Load_OnADeviceWithoutLatentCaches_IsRefusedByName()
    {
        using RandomCheckpoint checkpoint = Dense(hasQueryRank: false);
        ModelLoadException fault = Assert.Throws<ModelLoadException>(() => RankGroup.RunAlone(checkpoint, RankSetup.CudaEmulated, [Job]))!;
        Assert.That(fault.Message, Does.Contain("deepseek_v2").And.Contain("latent attention").And.Contain("cuda"));
    }

    private static RandomCheckpoint Dense(bool hasQueryRank)
    {
        ModelConfig odd = OddModels.Create("deepseek_v3").Config;
        return new RandomCheckpoint(odd with { Architecture = "deepseek_v2", Experts = null, Latent = odd.Latent! with { QueryRank = hasQueryRank ? 40 : 0 } });
    }

    private static string Text(ModelCheckpoint checkpoint, int degree, RankSetup? setup = null) =>
        RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, degree), setup ?? RankSetup.CpuDefault, [Job])[0][0].ToString();
}

/// <summary>A dense model with latent attention as its definition has it, in float64: every head's keys and values are made of the latent rows.</summary>
internal sealed class PlainLatentModel(RandomCheckpoint checkpoint)
{
    private readonly ModelConfig _config = checkpoint.Config;
    private readonly LatentConfig _latent = checkpoint.Config.Latent!;

    /// <summary>A tensor's float32 numbers.</summary>
    public static float[] Values(RandomCheckpoint checkpoint, string name)
    {
        ReadOnlySpan<byte> bytes = checkpoint.Bytes(checkpoint.Tensors[name]);
        float[] values = new float[bytes.Length / 4];
        for (int i = 0; i < values.Length; i++)
            values[i] = BinaryPrimitives.ReadSingleLittleEndian(bytes[(4 * i)..]);
        return values;
    }

    /// <summary>For each position the log probabilities of what follows.</summary>
    public double[][] Logprobs(int[] tokens)
    {
        float[] embedding = Values(checkpoint, "model.embed_tokens.weight");
        double[][] x = [.. tokens.Select(token => Enumerable.Range(0, _config.Hidden).Select(i => (double)embedding[(token * _config.Hidden) + i]).ToArray())];
        for (int layer = 0; layer < _config.Layers; layer++)
        {
            string block = $"model.layers.{layer}.";
            Add(x, Attend($"{block}self_attn.", [.. x.Select(row => Norm(row, $"{block}input_layernorm.weight"))]));
            Add(x, [.. x.Select(row => Mlp($"{block}mlp.", Norm(row, $"{block}post_attention_layernorm.weight")))]);
        }
        return [.. x.Select(row =>
        {
            double[] logits = Product(Norm(row, "model.norm.weight"), "lm_head.weight");
            double max = logits.Max(), sum = Math.Log(logits.Sum(logit => Math.Exp(logit - max))) + max;
            return logits.Select(logit => logit - sum).ToArray();
        })];
    }

    private double[][] Attend(string block, double[][] x)
    {
        int heads = _config.Heads, plain = _latent.PlainDim, rope = _latent.RopeDim, rank = _latent.KvRank, dim = _latent.QueryDim;
        double[][] queries = [.. x.Select(row => _latent.QueryRank == 0
            ? Product(row, $"{block}q_proj.weight")
            : Product(Norm(Product(row, $"{block}q_a_proj.weight"), $"{block}q_a_layernorm.weight"), $"{block}q_b_proj.weight"))];
        double[][] down = [.. x.Select(row => Product(row, $"{block}kv_a_proj_with_mqa.weight"))];
        double[][] keyValues = [.. down.Select(row => Product(Norm(row[..rank], $"{block}kv_a_layernorm.weight"), $"{block}kv_b_proj.weight"))];
        double[][] rotatedKeys = [.. down.Select((row, position) => Rotate(row.AsSpan(rank, rope), position))];
        double[][] outputs = new double[x.Length][];
        for (int row = 0; row < x.Length; row++)
        {
            double[] output = new double[heads * _latent.ValueDim];
            for (int head = 0; head < heads; head++)
            {
                double[] rotated = Rotate(queries[row].AsSpan((head * dim) + plain, rope), row), scores = new double[row + 1];
                for (int past = 0; past <= row; past++)
                {
                    for (int i = 0; i < plain; i++)
                        scores[past] += queries[row][(head * dim) + i] * keyValues[past][(head * _latent.KeyValueDim) + i];
                    for (int i = 0; i < rope; i++)
                        scores[past] += rotated[i] * rotatedKeys[past][i];
                    scores[past] /= Math.Sqrt(dim);
                }
                double max = scores.Max(), total = scores.Sum(score => Math.Exp(score - max));
                for (int past = 0; past <= row; past++)
                    for (int i = 0; i < _latent.ValueDim; i++)
                        output[(head * _latent.ValueDim) + i] += Math.Exp(scores[past] - max) / total * keyValues[past][(head * _latent.KeyValueDim) + plain + i];
            }
            outputs[row] = Product(output, $"{block}o_proj.weight");
        }
        return outputs;
    }

    /// <summary>Neighbours are a pair.</summary>
    private double[] Rotate(ReadOnlySpan<double> values, int position)
    {
        double[] rotated = new double[values.Length];
        for (int i = 0; i < values.Length; i += 2)
        {
            (double sin, double cos) = Math.SinCos(position * Math.Pow(_config.Rope.Theta, -(double)i / values.Length));
            (rotated[i], rotated[i + 1]) = ((values[i] * cos) - (values[i + 1] * sin), (values[i + 1] * cos) + (values[i] * sin));
        }
        return rotated;
    }

    private double[] Mlp(string block, double[] x)
    {
        double[] gate = Product(x, $"{block}gate_proj.weight"), up = Product(x, $"{block}up_proj.weight");
        return Product([.. gate.Zip(up, (g, u) => g / (1 + Math.Exp(-g)) * u)], $"{block}down_proj.weight");
    }

    private double[] Norm(double[] x, string name)
    {
        float[] weight = Values(checkpoint, name);
        double root = Math.Sqrt((x.Sum(value => value * value) / x.Length) + _config.NormEpsilon);
        return [.. x.Select((value, i) => value / root * weight[i])];
    }

    private double[] Product(double[] x, string name)
    {
        float[] weight = Values(checkpoint, name);
        double[] y = new double[weight.Length / x.Length];
        for (int i = 0; i < weight.Length; i++)
            y[i / x.Length] += weight[i] * x[i % x.Length];
        return y;
    }

    private static void Add(double[][] x, double[][] y)
    {
        for (int row = 0; row < x.Length; row++)
            for (int i = 0; i < x[row].Length; i++)
                x[row][i] += y[row][i];
    }
}
