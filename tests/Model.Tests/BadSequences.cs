using NUnit.Framework;
using TpServe.Collectives.Staged;
using TpServe.Kernels.Cuda;
using TpServe.Model.Sampling;
using TpServe.Model.Weights;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>Sequences whose embeddings are NaN or infinity, beside others that must not meet them.</summary>
internal static class BadSequences
{
    /// <summary>Tokens whose embedding is NaN and infinity.</summary>
    private const int NaNToken = 7, InfinityToken = 9;

    /// <summary>Sequences whose arithmetic is sound.</summary>
    public static readonly Job[] Good =
    [
        new() { Prompt = [5, 10, 13, 2, 77], NewTokens = 12, PromptTopLogprobs = 3 },
        new() { Prompt = [.. Enumerable.Range(20, 70)], Chunk = 16, NewTokens = 10, JoinsAt = 1, Settings = new() { Temperature = 1.1f, TopK = 30, Seed = 3 } },
        new() { Prompt = [3, 1], NewTokens = 10, JoinsAt = 3, TopLogprobs = 4, Settings = new() { Temperature = 0.9f, TopP = 0.9f, Seed = 4, PresencePenalty = 0.4f } },
        // Joins after the bad ones are done: takes their blocks.
        new() { Prompt = [.. Enumerable.Range(100, 60)], NewTokens = 8, JoinsAt = 14, Settings = new() { Temperature = 0.7f, Seed = 5 } },
    ];

    /// <summary>Sequences that become NaN, of every kind of row.</summary>
    public static readonly Job[] Bad =
    [
        new() { Prompt = [5, NaNToken, 13], NewTokens = 6 },
        new() { Prompt = [6, 8, InfinityToken], NewTokens = 5, TopLogprobs = 3 },
        new() { Prompt = [NaNToken], NewTokens = 5, JoinsAt = 2, Settings = new() { Temperature = 0.8f, Seed = 6 } },
        new() { Prompt = [1, InfinityToken], NewTokens = 5, JoinsAt = 2, Settings = new() { Temperature = 0.8f, TopK = 20, TopP = 0.9f, Seed = 7 } },
        new() { Prompt = [2, NaNToken, 3], NewTokens = 4, JoinsAt = 4, TopLogprobs = 0, Settings = new() { Temperature = 1f, RepetitionPenalty = 1.2f, AllowedTokenIds = [4, 5] } },
    ];

    /// <summary>The same with few tokens, for devices that are slow; slots hold NaN too.</summary>
    public static void ShortOnesEndAlone(RankSetup setup, int degree)
    {
        Job[] good = [.. Good.Take(3).Select(job => job with { Prompt = [.. job.Prompt.Take(6)], NewTokens = 5 })];
        EndAlone(setup with { StaleNaN = true }, "llama", degree, good, Bad);
    }

    /// <summary>Runs good jobs alone, then beside bad ones: the good ones give the same bits, the bad ones no token.</summary>
    public static void EndAlone(RankSetup setup, string model, int degree, Job[] good, Job[] bad)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(model);
        checkpoint.Fill(ExpectedTensors.Embedding, NaNToken, float.NaN);
        checkpoint.Fill(ExpectedTensors.Embedding, InfinityToken, float.PositiveInfinity);
        string[] alone = Texts(checkpoint, setup, degree, good);
        JobResult[][] together = Run(checkpoint, setup, degree, [.. good, .. bad]);
        Assert.That(together[0].Take(good.Length).Select(result => result.ToString()), Is.EqualTo(alone));
        foreach (JobResult[] rank in together)
        {
            for (int i = 0; i < bad.Length; i++)
            {
                Assert.That(rank[good.Length + i].Tokens, Is.EqualTo(Enumerable.Repeat(Sampler.NotFinite, bad[i].NewTokens)), $"bad job {i}");
                Assert.That(rank[good.Length + i].Logprobs, Is.Empty, $"bad job {i}");
            }
        }
    }

    /// <summary>Everything that rank 0 found, as text with exact bits.</summary>
    public static string[] Texts(RandomCheckpoint checkpoint, RankSetup setup, int degree, Job[] jobs) =>
        [.. Run(checkpoint, setup, degree, jobs)[0].Select(result => result.ToString())];

    private static JobResult[][] Run(RandomCheckpoint checkpoint, RankSetup setup, int degree, Job[] jobs) =>
        RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, degree), setup, jobs, wrap: (host, ops) => ops is CudaBackend ? new StagedCommunicator(host, ops) : host);
}
