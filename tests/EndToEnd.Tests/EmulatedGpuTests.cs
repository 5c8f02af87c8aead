using System.Text.Json;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.EndToEnd.Tests;

/// <summary>The GPU kernels through real processes, on ILGPU's CPU accelerator: a tiny Llama, because it is slow.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class EmulatedGpuTests
{
    [Test]
    public async Task Group_OfTwoEmulatedDevices_GivesTheBitsOfOne()
    {
        string model = TestData.FindOrIgnore("models/llama-mha");
        string[] answers = new string[2];
        for (int degree = 1; degree <= 2; degree++)
        {
            await using ServerProcess server = await ServerProcess.StartAsync("--model", model, "--device", "cuda-emulated", "--tp", $"{degree}", "--max-model-len", "64");
            JsonElement answer = await server.PostAsync(
                "/v1/completions", new { prompt = new[] { 5, 9, 13 }, max_tokens = 3, temperature = 0, ignore_eos = true, prompt_logprobs = 2, logprobs = 2, return_token_ids = true });
            answers[degree - 1] = answer.GetProperty("choices").GetRawText();
            JsonElement plain = await server.PostAsync("/v1/completions", new { prompt = new[] { 5, 9, 13 }, max_tokens = 3, temperature = 0, ignore_eos = true, return_token_ids = true });
            Assert.That(
                plain.GetProperty("choices")[0].GetProperty("token_ids").GetRawText(),
                Is.EqualTo(answer.GetProperty("choices")[0].GetProperty("token_ids").GetRawText()),
                "chosen on the device as from whole logits");

            using JsonDocument topology = JsonDocument.Parse(await server.Http.GetStringAsync(new Uri("/topology", UriKind.Relative)));
            Assert.That(topology.RootElement.GetProperty("ranks")[degree - 1].GetProperty("backend").GetString(), Does.EndWith("(emulated)"));
        }
        Assert.That(answers[1], Is.EqualTo(answers[0]));
    }

    [Test]
    public async Task Group_OfEmulatedDevicesWithADraftModel_GivesTheTokensWithoutIt()
    {
        string model = TestData.FindOrIgnore("models/llama-mha");
        List<string> answers = [];
        foreach (string[] draft in new[] { (string[])[], ["--draft", model] })
        {
            await using ServerProcess server = await ServerProcess.StartAsync(["--model", model, "--device", "cuda-emulated", "--tp", "2", "--max-model-len", "64", .. draft]);
            JsonElement answer = await server.PostAsync("/v1/completions", new { prompt = new[] { 5, 9, 13 }, max_tokens = 7, temperature = 0, ignore_eos = true, return_token_ids = true });
            answers.Add(answer.GetProperty("choices")[0].GetProperty("token_ids").GetRawText());
        }
        Assert.That(answers[1], Is.EqualTo(answers[0]));
    }
}
