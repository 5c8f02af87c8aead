using System.Buffers.Binary;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Collectives.Staged;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>Vectors are the hidden states that the head reads, pooled, and have the same bits whatever ran beside them.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class PoolingTests
{
    private static readonly Job[] Jobs =
    [
        new() { Prompt = Prompt(37, seed: 1), Chunk = 16, Pooling = Pooling.Mean },
        new() { Prompt = Prompt(21, seed: 2), NewTokens = 12, JoinsAt = 1, TopLogprobs = 2 },
        new() { Prompt = Prompt(70, seed: 3), Chunk = 32, JoinsAt = 1, Pooling = Pooling.Last },
        new() { Prompt = Prompt(1, seed: 4), JoinsAt = 2, Pooling = Pooling.Mean },
        new() { Prompt = Prompt(90, seed: 5), Chunk = 90, JoinsAt = 3, Pooling = Pooling.Mean },
        new() { Prompt = Prompt(9, seed: 6), Chunk = 4, JoinsAt = 2, Pooling = Pooling.First },
    ];

    /// <summary>Golden bound 1: the head times the vector, in float64, is what transformers says of the prompt's next token.</summary>
    [TestCase("llama-mha", "lm_head.weight")]
    [TestCase("llama-gqa-tied-rope3", "model.embed_tokens.weight")]
    [TestCase("qwen3", "model.embed_tokens.weight")]
    public void LastState_TimesTheHead_IsTheReferencesDistribution(string name, string head)
    {
        string folder = TestData.FindOrIgnore($"models/{name}");
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(folder);
        GoldenModel golden = GoldenModel.Read(Path.Combine(folder, "expected.json"));
        double[] weights = Values(checkpoint, checkpoint.Tensors.GetValueOrDefault(head) ?? checkpoint.Tensors["lm_head.weight"]);
        JobResult[] results = RankGroup.RunAlone(
            checkpoint, RankSetup.Reference, [.. golden.Cases.Select(one => new Job { Prompt = one.PromptTokenIds, Chunk = 48, Pooling = Pooling.Last })]);
        foreach ((GoldenCase expected, JobResult actual) in golden.Cases.Zip(results))
        {
            double[] logits = [.. Enumerable.Range(0, checkpoint.Config.Vocab).Select(token => actual.Vector.Select((value, i) => value * weights[token * actual.Vector.Length + i]).Sum())];
            double most = logits.Max(), total = most + Math.Log(logits.Sum(logit => Math.Exp(logit - most)));
            foreach ((int id, float logprob) in expected.TopIds[^1].Zip(expected.TopLogprobs[^1]))
                Assert.That(logits[id] - total, Is.EqualTo(logprob).Within(2e-3));
        }
    }

    [Test]
    public void MeanAndFirst_OfAnyModel_FollowFromTheLastStatesOfEveryPrefix([ValueSource(typeof(OddModels), nameof(OddModels.Names))] string name)
    {
        using ModelCheckpoint checkpoint = OddModels.Create(name);
        int[] prompt = Prompt(23, seed: 7);
        Job[] jobs =
        [
            .. Enumerable.Range(1, prompt.Length).Select(length => new Job { Prompt = prompt[..length], Pooling = Pooling.Last }),
            new Job { Prompt = prompt, Chunk = 5, Pooling = Pooling.Mean },
            new Job { Prompt = prompt, Chunk = 5, Pooling = Pooling.First },
        ];
        JobResult[] results = RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, jobs);
        float[] mean = [.. Enumerable.Range(0, checkpoint.Config.Hidden).Select(i => (float)(results[..prompt.Length].Aggregate(0.0, (sum, one) => sum + one.Vector[i]) / prompt.Length))];
        Assert.That(results[^2].Vector, Is.EqualTo(mean));
        Assert.That(results[^1].Vector, Is.EqualTo(results[0].Vector));
    }

    [Test]
    public void Vectors_AnySplitChunkAndCompany_SameBits(
        [ValueSource(typeof(OddModels), nameof(OddModels.Names))] string name, [Values("1,1", "1,1,1,1,1", "1,4,2")] string split)
    {
        using ModelCheckpoint checkpoint = OddModels.Create(name);
        double[] weights = [.. split.Split(',').Select(double.Parse)];
        JobResult[] together = RankGroup.Run(checkpoint, Partition.Weighted(checkpoint.Config, weights), RankSetup.CpuDefault, Jobs)[0];
        for (int i = 0; i < Jobs.Length; i++)
            Assert.That(RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, [Jobs[i] with { JoinsAt = 0, Chunk = 7 }])[0].ToString(), Is.EqualTo(together[i].ToString()), $"job {i} alone");
        Assert.That(together.Where((_, i) => Jobs[i].Pooling is not null).Select(result => result.Vector.Length), Has.All.EqualTo(checkpoint.Config.Hidden));
    }

    [Test]
    public void Vectors_OnTheGpuKernels_AreNearTheReferenceAndTheSameAtDegreeTwo()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore("models/llama-mha"));
        Job[] jobs = [.. new[] { Pooling.Last, Pooling.Mean, Pooling.First }.Select(pooling => new Job { Prompt = [5, 17, 40, 8, 3], Chunk = 3, Pooling = pooling })];
        RankSetup emulated = RankSetup.CudaEmulated with { KvType = ElementType.Float32, Backend = () => new CudaBackend(CudaContext.Emulated(), CudaActivations.Float32) };
        JobResult[][] groups = [.. new[] { 1, 2 }.Select(degree => RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, degree), emulated, jobs, wrap: (host, ops) => new StagedCommunicator(host, ops))[0])];
        Assert.That(groups[1].Select(result => result.ToString()), Is.EqualTo(groups[0].Select(result => result.ToString())));
        foreach ((JobResult actual, JobResult expected) in groups[0].Zip(RankGroup.RunAlone(checkpoint, RankSetup.Reference, jobs)))
            Assert.That(Numbers.Nmse(actual.Vector, expected.Vector), Is.LessThan(1e-8));
    }

    private static double[] Values(ModelCheckpoint checkpoint, TensorInfo tensor)
    {
        byte[] bytes = checkpoint.Bytes(tensor).ToArray();
        return tensor.Type switch
        {
            TensorType.F32 => [.. Enumerable.Range(0, bytes.Length / 4).Select(i => (double)BinaryPrimitives.ReadSingleLittleEndian(bytes.AsSpan(4 * i)))],
            TensorType.BF16 => [.. Enumerable.Range(0, bytes.Length / 2).Select(i => (double)BitConverter.Int32BitsToSingle(BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(2 * i)) << 16))],
            _ => throw new NotSupportedException($"{tensor.Type}"),
        };
    }

    private static int[] Prompt(int length, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(389))];
    }
}
