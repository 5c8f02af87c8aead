using System.Text.Json;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.EndToEnd.Tests;

/// <summary>Adapters on real workers: what PEFT computed, through the loss of a worker and the adapter's own end.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class LoraTests
{
    [Test]
    public async Task Adapter_WorkerKilledAndUnloadedMeanwhile_GivesTheTokensOfPeft()
    {
        string folder = TestData.Local("lora");
        await using ServerProcess server = await ServerProcess.StartAsync(
            "--model", TestData.FindOrIgnore("models/llama-gqa-tied-rope3"), "--served-model-name", "base", "--lora", $"all={folder}/r8-all-linear", "--lora-dir", folder, "--kv-dtype", "f32", "--activations", "f32");
        (int[] prompt, int[] expected) = Golden("r8-all-linear");
        Assert.That(await TokensAsync("all"), Is.EqualTo(expected));

        // A worker that is new has both: the adapter of the start, and the one that came later.
        Assert.That((await server.PostAsync("/v1/load_lora_adapter", new { lora_name = "qv", lora_path = "r4-q-v" })).GetProperty("status").GetString(), Is.EqualTo("loaded"));
        int[] before = await server.WorkerIdsAsync();
        ServerProcess.Signal(before[1], "KILL");
        Assert.That(await TokensAsync("base:all"), Is.EqualTo(expected));
        (prompt, expected) = Golden("r4-q-v");
        Assert.That(await TokensAsync("qv"), Is.EqualTo(expected));

        // One that is running goes on to its end when its adapter is unloaded.
        Task<int[]> running = TokensAsync("qv");
        Assert.That((await server.PostAsync("/v1/unload_lora_adapter", new { lora_name = "all" })).GetProperty("status").GetString(), Is.EqualTo("unloaded"));
        Assert.That(await running, Is.EqualTo(expected));

        async Task<int[]> TokensAsync(string model)
        {
            JsonElement answer = await server.PostAsync("/v1/completions", new { model, prompt, max_tokens = expected.Length, temperature = 0, ignore_eos = true, return_token_ids = true });
            return [.. answer.GetProperty("choices")[0].GetProperty("token_ids").EnumerateArray().Select(id => id.GetInt32())];
        }

        // Up to the first token whose runner-up is so near that rounding may choose it.
        (int[] Prompt, int[] Tokens) Golden(string name)
        {
            using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, name, "expected.json")));
            JsonElement first = golden.RootElement.GetProperty("cases")[0];
            int clear = first.GetProperty("greedy_gaps").EnumerateArray().TakeWhile(gap => gap.GetDouble() >= 8e-3).Count();
            return (Ints(first.GetProperty("prompt_token_ids")), Ints(first.GetProperty("greedy_token_ids"))[..clear]);
        }

        static int[] Ints(JsonElement array) => [.. array.EnumerateArray().Select(id => id.GetInt32())];
    }
}
