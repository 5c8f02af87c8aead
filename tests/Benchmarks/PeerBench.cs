using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using TpServe.Checkpoint;

namespace TpServe.Benchmarks;

/// <summary>Whole models beside llama.cpp: the same file, the same machine, turn by turn in one run.</summary>
/// <remarks>
/// Ours is what a user gets: the server's own process and its workers, over HTTP, prompts as token ids. Theirs is node-llama-cpp's prebuilt library in its own
/// process (tests/Benchmarks/peers; `npm install --ignore-scripts` there first), on one thread and on all cores: the better of the two counts in each phase, since
/// its decode can be slower on two threads than on one here. Turns alternate, because shared machines drift; medians and ranges are printed.
/// Prefill is a prompt of 128 tokens until the first token; decode is the tokens after the first.
/// </remarks>
internal static class PeerBench
{
    private const int PromptTokens = 128, DecodeTokens = 64, Rounds = 4, Turns = 2;

    /// <summary>Rates in tokens a second.</summary>
    private sealed record Rates(List<double> Prefill, List<double> Decode);

    public static async Task RunAsync(string repository, string workFolder, string[] wanted)
    {
        string smol = Path.Combine(repository, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
        Directory.CreateDirectory(workFolder);
        List<(string Name, string File)> models = [("smollm2-135m q4_1", smol)];
        foreach (TensorType type in new[] { TensorType.Q4_1, TensorType.Q8_0, TensorType.Q4_0 })
        {
            string file = Path.Combine(workFolder, $"llama-1b-{type}.gguf");
            models.Add(($"llama-1b {type}", file));
        }
        Console.WriteLine($"{Environment.ProcessorCount} cores; prefill {PromptTokens} tokens, decode {DecodeTokens}; median (range) of {Rounds * Turns} rounds, tokens/s");
        Console.WriteLine($"{"model",-20} {"phase",-8} {"llama.cpp",-26} {"TpServe",-26} ratio");
        foreach ((string name, string file) in models)
        {
            if (wanted.Length > 0 && !wanted.Any(word => name.Contains(word, StringComparison.OrdinalIgnoreCase)))
                continue;
            if (file != smol)
                RandomLlama.Write(file, RandomLlama.Shape.Llama1B, Enum.Parse<TensorType>(Path.GetFileNameWithoutExtension(file)["llama-1b-".Length..]), smol);
            Rates ours = new([], []), one = new([], []), all = new([], []);
            for (int turn = 0; turn < Turns; turn++)
            {
                await TheirsAsync(repository, file, 1, one);
                await TheirsAsync(repository, file, Environment.ProcessorCount, all);
                await OursAsync(repository, file, ours);
            }
            Print(name, "prefill", Better(one.Prefill, all.Prefill), ours.Prefill);
            Print(name, "decode", Better(one.Decode, all.Decode), ours.Decode);
        }
    }

    private static async Task TheirsAsync(string repository, string file, int threads, Rates rates)
    {
        ProcessStartInfo start = new("node") { WorkingDirectory = Path.Combine(repository, "tests", "Benchmarks", "peers"), RedirectStandardOutput = true };
        foreach (object argument in new object[] { "llama-cpp.mjs", file, threads, PromptTokens, DecodeTokens, Rounds })
            start.ArgumentList.Add(Convert.ToString(argument, CultureInfo.InvariantCulture)!);
        using Process node = Process.Start(start)!;
        string output = await node.StandardOutput.ReadToEndAsync();
        await node.WaitForExitAsync();
        string line = output.Split('\n').Last(text => text.StartsWith('{'));
        using JsonDocument result = JsonDocument.Parse(line);
        rates.Prefill.AddRange(result.RootElement.GetProperty("prefill").GetProperty("rounds").EnumerateArray().Select(value => value.GetDouble()));
        rates.Decode.AddRange(result.RootElement.GetProperty("decode").GetProperty("rounds").EnumerateArray().Select(value => value.GetDouble()));
    }

    private static async Task OursAsync(string repository, string file, Rates rates)
    {
        string program = Path.Combine(repository, "src", "Gateway", "bin", "Release", "net10.0", "TpServe.Gateway.dll");
        await using ServedModel server = await ServedModel.StartAsync(program, "--model", file, "--max-model-len", "1024");
        int[] prompt = [.. Enumerable.Range(0, PromptTokens).Select(i => 1000 + i * 37 % 5000)];
        for (int round = 0; round <= Rounds; round++)
        {
            (double first, double others) = await TimeAsync(server.Http, prompt);
            if (round == 0)
                continue; // warm-up
            rates.Prefill.Add(PromptTokens / first);
            rates.Decode.Add(DecodeTokens / others);
        }
    }

    /// <summary>Seconds to the first token, and from there to the last.</summary>
    private static async Task<(double First, double Others)> TimeAsync(HttpClient http, int[] prompt)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, "/v1/completions")
        {
            Content = JsonContent.Create(new { prompt, max_tokens = DecodeTokens + 1, temperature = 0, ignore_eos = true, stream = true, return_token_ids = true, cache_bypass = true }),
        };
        long start = Stopwatch.GetTimestamp();
        using HttpResponseMessage answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        answer.EnsureSuccessStatusCode();
        using StreamReader lines = new(await answer.Content.ReadAsStreamAsync());
        double first = 0;
        int tokens = 0;
        while (await lines.ReadLineAsync() is { } line)
        {
            if (!line.StartsWith("data: {", StringComparison.Ordinal))
                continue;
            using JsonDocument chunk = JsonDocument.Parse(line.AsMemory(6));
            foreach (JsonElement choice in chunk.RootElement.GetProperty("choices").EnumerateArray())
                if (choice.TryGetProperty("token_ids", out JsonElement ids) && ids.ValueKind == JsonValueKind.Array)
                    tokens += ids.GetArrayLength();
            if (first == 0 && tokens > 0)
                first = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
        if (tokens != DecodeTokens + 1)
            throw new InvalidOperationException($"{tokens} tokens came instead of {DecodeTokens + 1}.");
        return (first, Stopwatch.GetElapsedTime(start).TotalSeconds - first);
    }

    private static void Print(string model, string phase, List<double> theirs, List<double> ours)
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{model,-20} {phase,-8} {Spread(theirs),-26} {Spread(ours),-26} {Median(ours) / Median(theirs):F2}"));

        static string Spread(List<double> values) => string.Create(CultureInfo.InvariantCulture, $"{Median(values):F1} ({values.Min():F1}-{values.Max():F1})");
    }

    private static List<double> Better(List<double> a, List<double> b) => Median(a) >= Median(b) ? a : b;

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);
}
