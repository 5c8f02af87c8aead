using System.Collections.Concurrent;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Model.Sampling;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>Decode steps padded to the sizes of recordings give the bits of steps at their own size, and repeat what a graph would replay.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class RecordedDecodeTests
{
    /// <summary>Every kind of row, mixed: none keeps a decode step from being recorded.</summary>
    private static readonly Job[] Jobs =
    [
        new() { Prompt = [5, 9, 13, 2, 77], NewTokens = 40 },
        new() { Prompt = [3, 1], NewTokens = 30, JoinsAt = 3 },
        new() { Prompt = [.. Enumerable.Range(10, 130)], NewTokens = 20, Chunk = 32, JoinsAt = 2, Settings = new() { Temperature = 1.1f, TopK = 30, Seed = 3 } },
        new() { Prompt = [8, 8, 8], NewTokens = 12, JoinsAt = 9, Settings = new() { Temperature = 0.7f, TopK = 5, TopP = 0.9f, Seed = 4 } },
        new() { Prompt = [6], NewTokens = 10, JoinsAt = 12, TopLogprobs = 3 },
        new() { Prompt = [6, 2], NewTokens = 10, JoinsAt = 20, Settings = new() { Temperature = 0.9f, Seed = 5 }, TopLogprobs = 0 },
        new() { Prompt = [1, 2, 3], NewTokens = 10, JoinsAt = 21, Settings = new() { Temperature = 1.2f, TopP = 0.8f, MinP = 0.01f, Seed = 6, RepetitionPenalty = 1.3f, PresencePenalty = 0.5f } },
        new() { Prompt = [4], NewTokens = 10, JoinsAt = 22, Settings = new() { EndTokenIds = [5, 6], MinTokens = 6, LogitBias = [new(5, 30f)], FrequencyPenalty = 1f } },
        new() { Prompt = [4, 4], NewTokens = 8, JoinsAt = 23, Settings = new() { Temperature = 2f, AllowedTokenIds = [7, 70, 170], Seed = 7 } },
    ];

    [TestCase("llama", 1)]
    [TestCase("llama", 3)]
    [TestCase("olmo2", 2)]
    [TestCase("llama-grouped", 2)]
    public void DecodeSteps_PaddedAndRepeated_GiveTheSameTokens(string name, int degree)
    {
        using ModelCheckpoint checkpoint = OddModels.Create(name);
        Partition partition = Partition.Even(checkpoint.Config, degree);
        JobResult[][] expected = RankGroup.Run(checkpoint, partition, RankSetup.Reference, Jobs);

        ConcurrentBag<RecordingBackend> backends = [];
        RankSetup recording = RankSetup.Reference with
        {
            Backend = () =>
            {
                RecordingBackend backend = new(RankSetup.Reference.Backend());
                backends.Add(backend);
                return backend;
            },
        };
        JobResult[][] actual = RankGroup.Run(checkpoint, partition, recording, Jobs, wrap: (comm, _) => new EnqueuedGroup(comm));

        for (int rank = 0; rank < degree; rank++)
            Assert.That(actual[rank].Select(result => result.ToString()), Is.EqualTo(expected[rank].Select(result => result.ToString())));
        Assert.That(backends.Select(backend => backend.Counts.Replays), Has.All.GreaterThan(15));
        Assert.That(backends.Select(backend => backend.Counts.Keys), Has.All.InRange(3, 16));
    }

    [TestCase(1)]
    [TestCase(2)]
    public void DecodeSteps_WithARowThatTheHostChooses_GiveTheOthersTheSameTokens(int degree)
    {
        using ModelCheckpoint checkpoint = OddModels.Create("llama");
        Partition partition = Partition.Even(checkpoint.Config, degree);
        Job beyond = new() { Prompt = [11, 12], NewTokens = 30, TopLogprobs = LogitsPlan.MostCandidates + 1 };
        string[] expected = [.. RankGroup.Run(checkpoint, partition, RankSetup.Reference, Jobs)[0].Select(result => result.ToString())];
        JobResult[][] actual = RankGroup.Run(checkpoint, partition, RankSetup.Reference, [.. Jobs, beyond]);
        Assert.That(actual[0].Take(Jobs.Length).Select(result => result.ToString()), Is.EqualTo(expected));
        Assert.That(actual[0][^1].Logprobs.Select(logprobs => logprobs.TopIds[0]), Is.EqualTo(actual[0][^1].Tokens));
        Assert.That(actual[^1].Select(result => result.Tokens), Is.EqualTo(actual[0].Select(result => result.Tokens)));
    }

    [TestCase(1, 1)]
    [TestCase(3, 4)]
    [TestCase(8, 8)]
    [TestCase(9, 16)]
    [TestCase(33, 40)]
    [TestCase(64, 64)]
    public void Key_AnyBatch_PadsRowsToFewSizes(int rows, int padded)
    {
        StepBatch batch = new(16);
        batch.Clear(1);
        for (int row = 0; row < rows; row++)
            batch.Samples.Add(new SampleRow(batch.AddSequence([1], 0, [row]), SamplingSettings.Greedy, new int[] { 1 }, 1, -1));
        LogitsPlan plan = new(drawsOnDevice: true);
        plan.Make(batch.Samples);
        Assert.That(DecodeRecording.Fits(batch, plan), Is.True);
        Assert.That(DecodeRecording.Key(batch, plan).Rows, Is.EqualTo(padded));
    }
}
