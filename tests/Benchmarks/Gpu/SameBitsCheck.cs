using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;

namespace TpServe.Benchmarks.Gpu;

/// <summary>Real servers of degree 1, 2 and 3 on the same card: prompt logprobs, greedy tokens and their logprobs as text must be equal.</summary>
/// <remarks>
/// Usage    bits DEVICE [MODEL…]: DEVICE is cuda:N, cuda-emulated or cpu, given to every rank; MODEL a file or folder, default the embedded SmolLM2.
/// </remarks>
internal static class SameBitsCheck
{
    private const int PromptTokens = 48, NewTokens = 24;

    /// <summary>Prints a line a model; 1 where any degree differs.</summary>
    public static async Task<int> RunAsync(string program, string embedded, string[] arguments)
    {
        string device = arguments.Length > 0 ? arguments[0] : "cuda:0";
        string[] models = arguments.Length > 1 ? arguments[1..] : [embedded];
        int different = 0;
        foreach (string model in models)
        {
            List<string> answers = [];
            foreach (int degree in new[] { 1, 2, 3 })
                answers.Add(await AnswerAsync(program, model, device, degree));
            bool equal = answers.All(answer => answer == answers[0]);
            different += equal ? 0 : 1;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"same bits, degrees 1 2 3 on {device}: {Path.GetFileName(model)}: {(equal ? "equal" : "DIFFERENT")} ({answers[0].Length} characters)"));
        }
        return different == 0 ? 0 : 1;
    }

    private static async Task<string> AnswerAsync(string program, string model, string device, int degree)
    {
        string devices = device.StartsWith("cuda:", StringComparison.Ordinal) ? string.Join(',', Enumerable.Repeat(device, degree)) : device;
        await using ServedModel server = await ServedModel.StartAsync(
            program, "--model", model, "--device", devices, "--tp", degree.ToString(CultureInfo.InvariantCulture), "--max-model-len", "128");
        int[] prompt = [.. Enumerable.Range(0, PromptTokens).Select(i => 3 + i * 37 % 200)];
        using HttpResponseMessage answer = await server.Http.PostAsJsonAsync(
            new Uri("/v1/completions", UriKind.Relative),
            new { prompt, max_tokens = NewTokens, temperature = 0, ignore_eos = true, logprobs = 5, prompt_logprobs = 5, return_token_ids = true });
        answer.EnsureSuccessStatusCode();
        using JsonDocument json = JsonDocument.Parse(await answer.Content.ReadAsStreamAsync());
        return json.RootElement.GetProperty("choices").GetRawText();
    }
}
