using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.EndToEnd.Tests;

/// <summary>The promise, through real processes: degree, partition, transport, batch and chunk size leave no trace in the bits.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class SameBitsTests
{
    private const string Prompt = "The tensor parallel server splits each matrix into shards. Every rank computes its part, and then";

    private static readonly string[][] Groups =
    [
        ["--tp", "1"],
        ["--tp", "2"],
        ["--tp", "2", "--transport", "ring"],
        ["--tp", "3"],
        ["--tp", "3", "--transport", "ring"],
        ["--tp", "4"],
        ["--tp", "4", "--transport", "ring"],
        ["--tp", "5"],
        ["--tp", "5", "--transport", "ring"],
        ["--tp", "3", "--partition", "5,1,3"],
        ["--tp", "3", "--partition", "5,1,3", "--transport", "ring"],
        ["--tp", "2", "--partition", "auto"],
        ["--tp", "3", "--partition", "auto", "--transport", "ring"],
        ["--tp", "2", "--chunk-tokens", "1"],
        ["--tp", "2", "--chunk-tokens", "16"],
        ["--tp", "2", "--chunk-tokens", "64"],
    ];

    private static readonly object s_schema = new
    {
        type = "object",
        properties = new { part = new { type = "string", maxLength = 12 }, ranks = new { type = "integer", minimum = 1, maximum = 64 } },
        required = new[] { "part", "ranks" },
        additionalProperties = false,
    };

    private string? _expected;

    /// <summary>Everything a client can see of the numbers, as text: floats are written with round-trip precision, so equal text is equal bits.</summary>
    private static async Task<string> FingerprintAsync(ServerProcess server, object? mates = null, int guesses = 0)
    {
        Task<JsonElement>? beside = mates is null ? null : server.PostAsync("/v1/completions", mates);
        JsonElement greedy = await server.PostAsync("/v1/completions", new { prompt = Prompt, max_tokens = 64, temperature = 0, ignore_eos = true, prompt_logprobs = 3, logprobs = 3, return_token_ids = true, draft_tokens = guesses });
        JsonElement sampled = await server.PostAsync("/v1/completions", new { prompt = Prompt, max_tokens = 24, temperature = 0.9, top_p = 0.95, seed = 1234, ignore_eos = true, logprobs = 0, return_token_ids = true, draft_tokens = guesses });
        JsonElement formed = await server.PostAsync("/v1/completions", new { prompt = Prompt, max_tokens = 60, temperature = 0.9, seed = 77, logprobs = 0, return_token_ids = true, structured_outputs = new { json = s_schema } });
        JsonElement text = formed.GetProperty("choices")[0];
        Assert.That(text.GetProperty("finish_reason").GetString(), Is.EqualTo("stop"));
        JsonElement written = JsonDocument.Parse(text.GetProperty("text").GetString()!).RootElement;
        Assert.That((written.GetProperty("part").GetString()!.Length <= 12, written.GetProperty("ranks").GetInt32() is >= 1 and <= 64, written.EnumerateObject().Count()), Is.EqualTo((true, true, 2)));
        if (beside is not null)
            await beside;
        return string.Join("\n", new[] { greedy, sampled, formed }.Select(answer => answer.GetProperty("choices")[0]).SelectMany(choice => new[]
        {
            choice.GetProperty("text").GetRawText(),
            choice.GetProperty("token_ids").GetRawText(),
            choice.GetProperty("logprobs").GetRawText(),
            choice.TryGetProperty("prompt_logprobs", out JsonElement prompt) ? prompt.GetRawText() : "",
        }));
    }

    [OneTimeSetUp]
    public async Task ComputeOnOneRank()
    {
        await using ServerProcess server = await ServerProcess.StartAsync("--tp", "1", "--threads", "2");
        _expected = await FingerprintAsync(server);
        Assert.That(_expected, Has.Length.GreaterThan(1000));
    }

    [TestCaseSource(nameof(Groups))]
    public async Task Group_OfAnyShape_GivesTheBitsOfOneRank(string[] flags)
    {
        await using ServerProcess server = await ServerProcess.StartAsync(flags);
        Assert.That(await FingerprintAsync(server), Is.EqualTo(_expected));
    }

    [Test]
    public async Task Group_KvOf8Bits_LeavesNoTraceOfDegreeChunkIsaOrCacheHit()
    {
        string? expected = null;
        foreach (string[] flags in new string[][] { ["--tp", "1"], ["--tp", "2", "--isa", "avx2"], ["--tp", "3", "--chunk-tokens", "7"] })
        {
            if (flags.Contains("--isa") && !System.Runtime.Intrinsics.X86.Avx2.IsSupported)
                continue;
            await using ServerProcess server = await ServerProcess.StartAsync([.. flags, "--kv-dtype", "q8"]);
            string first = await FingerprintAsync(server);
            expected ??= first;
            Assert.That(first, Is.EqualTo(expected).And.Not.EqualTo(_expected), string.Join(' ', flags));
            Assert.That(await FingerprintAsync(server), Is.EqualTo(expected), "the second time, its beginning found in the cache");
        }
    }

    [Test]
    public async Task Group_WithBatchMates_GivesTheBitsOfOneRequestAlone()
    {
        await using ServerProcess server = await ServerProcess.StartAsync("--tp", "2");
        string together = await FingerprintAsync(server, new { prompt = "Once upon a time there was", max_tokens = 100, n = 4, temperature = 1.0, seed = 7, ignore_eos = true });
        Assert.That(together, Is.EqualTo(_expected));
    }

    [Test]
    public async Task Group_PrefixFoundInTheCache_GivesTheBitsOfComputingIt()
    {
        await using ServerProcess server = await ServerProcess.StartAsync("--tp", "2");
        Assert.That(await FingerprintAsync(server), Is.EqualTo(_expected));
        Assert.That(await FingerprintAsync(server), Is.EqualTo(_expected), "the second time");
        JsonElement again = await server.PostAsync("/v1/completions", new { prompt = Prompt, max_tokens = 1 });
        Assert.That(again.GetProperty("usage").GetProperty("prompt_tokens_details").GetProperty("cached_tokens").GetInt32(), Is.GreaterThanOrEqualTo(16));
    }

    [Test]
    public async Task Group_GuessingAhead_GivesTheBitsOfOneTokenAtATime()
    {
        await using ServerProcess server = await ServerProcess.StartAsync("--tp", "2");
        Assert.That(await FingerprintAsync(server, guesses: 8), Is.EqualTo(_expected));
        object repeats = new { prompt = string.Concat(Enumerable.Repeat("one two three four five six seven. ", 8)), max_tokens = 64, temperature = 0, ignore_eos = true, logprobs = 2, return_token_ids = true };
        JsonElement plain = await server.PostAsync("/v1/completions", repeats);
        JsonElement guessed = await server.PostAsync("/v1/completions", new { prompt = string.Concat(Enumerable.Repeat("one two three four five six seven. ", 8)), max_tokens = 64, temperature = 0, ignore_eos = true, logprobs = 2, return_token_ids = true, draft_tokens = 8 });
        // Text is cut into tokens at other places of the stream only; ids and numbers are the same.
        Assert.That(guessed.GetProperty("choices")[0].GetProperty("token_ids").GetRawText(), Is.EqualTo(plain.GetProperty("choices")[0].GetProperty("token_ids").GetRawText()));
        Assert.That(guessed.GetProperty("choices")[0].GetProperty("logprobs").GetRawText(), Is.EqualTo(plain.GetProperty("choices")[0].GetProperty("logprobs").GetRawText()));
    }

    [Test]
    public async Task Group_CacheTooSmallForAll_WhoGivesWayGoesOnWithTheSameBits()
    {
        await using ServerProcess server = await ServerProcess.StartAsync("--tp", "2", "--kv-cache", "384");
        object mates = new { prompt = "Once upon a time there was", max_tokens = 300, n = 4, temperature = 1.0, seed = 7, ignore_eos = true, priority = 1 };
        Assert.That(await FingerprintAsync(server, mates), Is.EqualTo(_expected));
    }

    [Test]
    public async Task Group_WorkerKilledMidway_GoesOnWithTheSameBits()
    {
        await using ServerProcess server = await ServerProcess.StartAsync("--tp", "2");
        Task<string> answers = FingerprintAsync(server);
        int pid = (await server.TopologyAsync()).GetProperty("ranks")[1].GetProperty("pid").GetInt32();
        await Assert.ThatAsync(async () => long.Parse((await server.TopologyAsync()).GetProperty("ranks")[1].GetProperty("steps").GetString()!, CultureInfo.InvariantCulture), Is.GreaterThan(10).After(20_000, 5));
        Process.GetProcessById(pid).Kill();
        Assert.That(await answers, Is.EqualTo(_expected));
    }

    /// <summary>LongRoPE: a sequence that outgrows the original context of 64 tokens is computed anew, so that it equals the same tokens sent again one by one.</summary>
    [Test]
    public async Task LongRope_GreedyAcrossTheBorder_EqualsTheTokensSentOneByOne()
    {
        await using ServerProcess server = await ServerProcess.StartAsync("--tp", "2", "--model", Path.Combine(TestData.Repository, "tests", "Data", "models", "phi3-longrope"));
        int[] prompt = [.. Enumerable.Range(0, 58).Select(i => 5 + i * 7 % 200)];
        int[] whole = await GreedyAsync(prompt, 16), log = prompt;
        for (int i = 0; i < whole.Length; i++)
            log = [.. log, .. await GreedyAsync(log, 1)];
        Assert.That(log[prompt.Length..], Is.EqualTo(whole));

        async Task<int[]> GreedyAsync(int[] tokens, int count)
        {
            JsonElement answer = await server.PostAsync("/v1/completions", new { prompt = tokens, max_tokens = count, temperature = 0, ignore_eos = true, return_token_ids = true });
            return [.. answer.GetProperty("choices")[0].GetProperty("token_ids").EnumerateArray().Select(id => id.GetInt32())];
        }
    }
}
