using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Grpc.Net.Client;
using NUnit.Framework;
using TpServe.Protos.V1;
using TpServe.Testing;

namespace TpServe.EndToEnd.Tests;

/// <summary>A model that guesses ahead leaves no trace in the bits, however good it is and whatever happens meanwhile; through real processes.</summary>
/// <remarks>
/// Guesses that pay: a model of 30 layers of which two do anything, and those two alone as its draft, which is always right. Guesses that do not: the embedded
/// model with two of its own layers (hardly ever right), and with itself (always right, but as dear).
/// </remarks>
[Category("MultiProcess"), NonParallelizable]
public sealed class DraftModelTests
{
    private const string Prompt = "The tensor parallel server splits each matrix into shards. Every rank computes its part, and then";

    private static readonly string[][] Groups =
    [
        ["--tp", "1"],
        ["--tp", "2"],
        ["--tp", "3", "--transport", "ring"],
        ["--tp", "2", "--chunk-tokens", "16", "--draft-tokens", "3"],
        ["--tp", "2", "--speculation", "ngram"],
    ];

    private string _folder = "", _deep = "", _shallow = "", _expectedDeep = "";

    /// <summary>Everything a client can see of the numbers, as text: floats are written with round-trip precision, so equal text is equal bits.</summary>
    private static async Task<string> FingerprintAsync(ServerProcess server, object? mates = null)
    {
        Task<JsonElement>? beside = mates is null ? null : server.PostAsync("/v1/completions", mates);
        JsonElement[] answers =
        [
            await server.PostAsync("/v1/completions", new { prompt = Prompt, max_tokens = 48, temperature = 0, ignore_eos = true, return_token_ids = true }),
            await server.PostAsync("/v1/completions", new { prompt = Prompt, max_tokens = 48, temperature = 0, ignore_eos = true, prompt_logprobs = 3, logprobs = 3, return_token_ids = true }),
            await server.PostAsync("/v1/completions", new { prompt = Prompt, max_tokens = 48, temperature = 1, seed = 1234, ignore_eos = true, logprobs = 2, return_token_ids = true }),
            await server.PostAsync("/v1/completions", new { prompt = Prompt, max_tokens = 32, temperature = 1, top_p = 0.9, seed = 7, frequency_penalty = 0.5, repetition_penalty = 1.2, ignore_eos = true, n = 2, return_token_ids = true }),
        ];
        if (beside is not null)
            await beside;
        // Where text is cut depends on which tokens came together; ids and numbers do not.
        return string.Join("\n", answers.SelectMany(answer => answer.GetProperty("choices").EnumerateArray()).SelectMany(choice => new[]
        {
            choice.GetProperty("token_ids").GetRawText(),
            choice.GetProperty("logprobs").GetRawText(),
            choice.TryGetProperty("prompt_logprobs", out JsonElement prompt) ? prompt.GetRawText() : "",
        }));
    }

    private static async Task<(long Guessed, long Right)> GuessesAsync(ServerProcess server)
    {
        using GrpcChannel channel = GrpcChannel.ForAddress($"http://127.0.0.1:{server.GrpcPort}");
        GetLoadResponse load = await new Control.ControlClient(channel).GetLoadAsync(new GetLoadRequest(), deadline: DateTime.UtcNow + TimeSpan.FromSeconds(20));
        return (load.DraftTokensGuessed, load.DraftTokensRight);
    }

    [OneTimeSetUp]
    public async Task MakeModels()
    {
        _folder = Directory.CreateTempSubdirectory("e2e-draft-").FullName;
        (_deep, _shallow) = (Path.Combine(_folder, "deep.gguf"), Path.Combine(_folder, "shallow.gguf"));
        ShallowModel.Write(TestData.SmolLm2, _deep, layers: 30, living: 2);
        ShallowModel.Write(TestData.SmolLm2, _shallow, layers: 2, living: 2);
        await using ServerProcess server = await ServerProcess.StartAsync("--model", _deep, "--tp", "1", "--threads", "2");
        _expectedDeep = await FingerprintAsync(server);
        Assert.That(_expectedDeep, Has.Length.GreaterThan(1000));
        Assert.That((await GuessesAsync(server)).Guessed, Is.Zero);
    }

    [OneTimeTearDown]
    public void DropModels() => Directory.Delete(_folder, recursive: true);

    private Task<ServerProcess> StartAsync(params string[] flags) => ServerProcess.StartAsync(["--model", _deep, "--draft", _shallow, .. flags]);

    [TestCaseSource(nameof(Groups))]
    public async Task Group_OfAnyShapeWithAGoodDraft_GivesTheBitsWithoutIt(string[] flags)
    {
        await using ServerProcess server = await StartAsync(flags);
        Assert.That(await FingerprintAsync(server), Is.EqualTo(_expectedDeep));
        (long guessed, long right) = await GuessesAsync(server);
        Assert.That(guessed, Is.Positive, "it is tried; how often depends on what steps take here, and what it brings is the benchmark's to say");
        if (!flags.Contains("ngram"))
            Assert.That(right, Is.GreaterThan(0.9 * guessed));
    }

    [Test]
    public async Task Group_PrefixFoundInTheCacheAndBatchMates_GivesTheBitsWithoutADraft()
    {
        await using ServerProcess server = await StartAsync("--tp", "2");
        Assert.That(await FingerprintAsync(server), Is.EqualTo(_expectedDeep));
        Assert.That(await FingerprintAsync(server, new { prompt = "Once upon a time there was", max_tokens = 100, n = 4, temperature = 1.0, seed = 7, ignore_eos = true }), Is.EqualTo(_expectedDeep), "with mates");
        JsonElement again = await server.PostAsync("/v1/completions", new { prompt = Prompt, max_tokens = 1 });
        Assert.That(again.GetProperty("usage").GetProperty("prompt_tokens_details").GetProperty("cached_tokens").GetInt32(), Is.GreaterThanOrEqualTo(16));
    }

    [Test]
    public async Task Group_CacheTooSmallForAll_WhoGivesWayGoesOnWithTheSameBits()
    {
        await using ServerProcess server = await StartAsync("--tp", "2", "--kv-cache", "384");
        object mates = new { prompt = "Once upon a time there was", max_tokens = 300, n = 4, temperature = 1.0, seed = 7, ignore_eos = true, priority = 1 };
        Assert.That(await FingerprintAsync(server, mates), Is.EqualTo(_expectedDeep));
    }

    [Test]
    public async Task Group_WorkerKilledMidway_GoesOnWithTheSameBits()
    {
        await using ServerProcess server = await StartAsync("--tp", "2");
        Task<string> answers = FingerprintAsync(server);
        int pid = (await server.WorkerIdsAsync())[1];
        await Assert.ThatAsync(async () => long.Parse((await server.TopologyAsync()).GetProperty("ranks")[1].GetProperty("steps").GetString()!, CultureInfo.InvariantCulture), Is.GreaterThan(10).After(20_000, 5));
        using Process worker = Process.GetProcessById(pid);
        worker.Kill();
        Assert.That(await answers, Is.EqualTo(_expectedDeep));
    }

    [Test]
    public async Task Group_DraftThatIsBadOrDear_GivesTheBitsWithoutIt()
    {
        string expected;
        await using (ServerProcess plain = await ServerProcess.StartAsync("--tp", "1", "--threads", "2"))
            expected = await FingerprintAsync(plain);
        foreach ((string draft, int most) in new[] { (_shallow, int.MaxValue), (TestData.SmolLm2, 150) })
        {
            await using ServerProcess server = await ServerProcess.StartAsync("--tp", "2", "--draft", draft);
            Assert.That(await FingerprintAsync(server), Is.EqualTo(expected), draft);
            Assert.That((await GuessesAsync(server)).Guessed, Is.InRange(1, most), $"of 208 tokens, {draft}: what is as dear as the model rests");
        }
    }

    /// <summary>LongRoPE: a sequence that outgrows the original context of 64 tokens is computed anew, by the draft too.</summary>
    [Test]
    public async Task LongRope_AcrossTheBorderWithADraft_GivesTheTokensWithoutIt()
    {
        string model = TestData.Local("models/phi3-longrope");
        List<string> answers = [];
        foreach (string[] draft in new[] { (string[])[], ["--draft", model] })
        {
            await using ServerProcess server = await ServerProcess.StartAsync(["--tp", "2", "--model", model, .. draft]);
            foreach (int length in new[] { 52, 58, 61, 70 })
            {
                int[] prompt = [.. Enumerable.Range(0, length).Select(i => 5 + i * 7 % 200)];
                JsonElement answer = await server.PostAsync("/v1/completions", new { prompt, max_tokens = 24, temperature = 0, ignore_eos = true, return_token_ids = true, logprobs = 1 });
                answers.Add(answer.GetProperty("choices")[0].GetProperty("token_ids").GetRawText() + answer.GetProperty("choices")[0].GetProperty("logprobs").GetRawText());
            }
            if (draft.Length > 0)
                Assert.That((await GuessesAsync(server)).Guessed, Is.Positive);
        }
        Assert.That(answers[4..], Is.EqualTo(answers[..4]));
    }

    [Test]
    public async Task Serve_DraftOfAnotherTokenizer_EndsNamingBothFiles()
    {
        string other = TestData.Local("models/llama-mha");
        await using ServerProcess server = ServerProcess.Launch("--draft", other);
        Assert.That(await server.WaitForExitAsync(TimeSpan.FromSeconds(30)), Is.EqualTo(1));
        Assert.That(server.Errors, Does.Contain(other).And.Contain("SmolLM2").And.Contain("tokenizers differ"));
    }
}
