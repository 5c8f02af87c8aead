using System.Text.Json;
using NUnit.Framework;

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
        ["--tp", "2", "--chunk-tokens", "1"],
        ["--tp", "2", "--chunk-tokens", "16"],
        ["--tp", "2", "--chunk-tokens", "64"],
    ];

    private string? _expected;

    /// <summary>Everything a client can see of the numbers, as text: floats are written with round-trip precision, so equal text is equal bits.</summary>
    private static async Task<string> FingerprintAsync(ServerProcess server, object? mates = null)
    {
        Task<JsonElement>? beside = mates is null ? null : server.PostAsync("/v1/completions", mates);
        JsonElement greedy = await server.PostAsync("/v1/completions", new { prompt = Prompt, max_tokens = 64, temperature = 0, ignore_eos = true, prompt_logprobs = 3, logprobs = 3, return_token_ids = true });
        JsonElement sampled = await server.PostAsync("/v1/completions", new { prompt = Prompt, max_tokens = 24, temperature = 0.9, top_p = 0.95, seed = 1234, ignore_eos = true, logprobs = 0, return_token_ids = true });
        if (beside is not null)
            await beside;
        return string.Join("\n", new[] { greedy, sampled }.Select(answer => answer.GetProperty("choices")[0]).SelectMany(choice => new[]
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
    public async Task Group_WithBatchMates_GivesTheBitsOfOneRequestAlone()
    {
        await using ServerProcess server = await ServerProcess.StartAsync("--tp", "2");
        string together = await FingerprintAsync(server, new { prompt = "Once upon a time there was", max_tokens = 100, n = 4, temperature = 1.0, seed = 7, ignore_eos = true });
        Assert.That(together, Is.EqualTo(_expected));
    }
}
