using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using TpServe.Checkpoint;

namespace TpServe.Benchmarks;

/// <summary>What the engine adds to the model, through the whole server with two workers: idle time between steps, stutter beside a long prompt, guesses, a lost worker.</summary>
/// <remarks>
/// Idle: the ranks' own clocks (GetTopology's totals) between a moment when every stream decodes and one before the first ends. Stutter: gaps between tokens of
/// four running streams while a prompt of 4,000 tokens prefills. Guesses: a file of code to be repeated, with and without, turn by turn; the tokens must be equal.
/// Lost worker: rank 1 is killed, or frozen, in the middle of a stream; the longest gap, and equal tokens.
/// </remarks>
internal static class ServingBench
{
    public static async Task RunAsync(string repository, string workFolder, string[] wanted)
    {
        Directory.CreateDirectory(workFolder);
        string program = ServedModel.Program(repository);
        string smol = Path.Combine(repository, "models", "SmolLM2-135M-Instruct.Q4_1.gguf"), large = Path.Combine(workFolder, "llama-1b-Q8_0.gguf");
        bool Wanted(string word) => wanted.Length == 0 || wanted.Contains(word, StringComparer.OrdinalIgnoreCase);
        if (Wanted("1b"))
            RandomLlama.Write(large, RandomLlama.Shape.Llama1B, TensorType.Q8_0, smol);
        foreach ((string name, string file) in new[] { ("smollm2", smol), ("1b", large) })
        {
            if (!Wanted(name))
                continue;
            Console.WriteLine($"{name}: {Environment.ProcessorCount} cores, 2 workers of 1 thread");
            await using ServedModel server = await ServedModel.StartAsync(program, "--model", file, "--max-model-len", "8192");
            await IdleAsync(server, streams: 1, tokens: name == "1b" ? 64 : 256);
            await IdleAsync(server, streams: 32, tokens: name == "1b" ? 48 : 128);
            await StutterAsync(server, promptTokens: name == "1b" ? 1000 : 4000);
            if (name != "smollm2")
                continue;
            await GuessesAsync(server, await File.ReadAllTextAsync(Path.Combine(repository, "tests", "Benchmarks", "ServingBench.cs")));
            await LossAsync(server, "kill -9", "KILL");
            await LossAsync(server, "freeze", "STOP");
        }
    }

    private static async Task IdleAsync(ServedModel server, int streams, int tokens)
    {
        TaskCompletionSource begun = new(TaskCreationOptions.RunContinuationsAsynchronously), ends = new(TaskCreationOptions.RunContinuationsAsynchronously);
        int running = 0;
        Task[] all = [.. Enumerable.Range(0, streams).Select(stream => server.StreamAsync(Prompt(16, stream), tokens, came: count =>
        {
            if (count == 8 && Interlocked.Increment(ref running) == streams)
                begun.TrySetResult();
            if (count == tokens - 4)
                ends.TrySetResult();
        }))];
        await begun.Task;
        (double Busy, double Idle, long Steps)[] before = await TotalsAsync(server);
        await ends.Task;
        (double Busy, double Idle, long Steps)[] after = await TotalsAsync(server);
        await Task.WhenAll(all);
        for (int rank = 0; rank < after.Length; rank++)
        {
            double busy = after[rank].Busy - before[rank].Busy, idle = after[rank].Idle - before[rank].Idle;
            long steps = after[rank].Steps - before[rank].Steps;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  idle     batch {streams,2}: rank {rank}: {steps} steps of {1e3 * (busy + idle) / steps:F2} ms, idle {1e6 * idle / steps:F0} us = {100 * idle / (busy + idle):F1} %"));
        }
    }

    private static async Task StutterAsync(ServedModel server, int promptTokens)
    {
        bool prefilling = false;
        List<double> gaps = [];
        using CancellationTokenSource enough = new();
        Task[] running = [.. Enumerable.Range(0, 4).Select(async stream =>
        {
            long last = 0;
            try
            {
                await server.StreamAsync(Prompt(16, stream), 4000, came: count =>
                {
                    if (prefilling && last != 0)
                        lock (gaps)
                            gaps.Add(Stopwatch.GetElapsedTime(last).TotalMilliseconds);
                    last = Stopwatch.GetTimestamp();
                }, cancellation: enough.Token);
            }
            catch (OperationCanceledException) when (enough.IsCancellationRequested)
            {
                // It has told what it was for.
            }
        })];
        await Task.Delay(2000);
        prefilling = true;
        long start = Stopwatch.GetTimestamp();
        await server.StreamAsync(Prompt(promptTokens, 99), 1);
        prefilling = false;
        double prefill = Stopwatch.GetElapsedTime(start).TotalSeconds;
        await enough.CancelAsync();
        await Task.WhenAll(running);
        double[] sorted = [.. gaps.Order()];
        double median = sorted[sorted.Length / 2], p99 = sorted[(int)(sorted.Length * 0.99)];
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"  stutter  4 streams beside a prompt of {promptTokens}: median {median:F1} ms, p99 {p99:F1} ms = {p99 / median:F1} x; largest {sorted[^1]:F1} ms; prefill {promptTokens / prefill:F0} tokens/s"));
    }

    private static async Task GuessesAsync(ServedModel server, string code)
    {
        int[] prompt = await TokensAsync(server, $"A file of code:\n{code[..3000]}\nThe same file once more, word for word:\n{code[..400]}");
        List<double> plain = [], guessed = [];
        List<int>? tokens = null;
        for (int round = 0; round < 8; round++)
        {
            TokenStream stream = await server.StreamAsync(prompt, 256, round % 2 == 0 ? 0 : 8);
            tokens ??= stream.Tokens;
            if (!tokens.SequenceEqual(stream.Tokens))
                throw new InvalidOperationException("Guesses changed the tokens.");
            if (round >= 2)
                (round % 2 == 0 ? plain : guessed).Add((stream.Tokens.Count - 1) / (stream.Times[^1] - stream.Times[0]));
        }
        double without = plain.Order().ElementAt(plain.Count / 2), with = guessed.Order().ElementAt(guessed.Count / 2);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"  guesses  code repeated, batch 1: {without:F0} -> {with:F0} tokens/s = {with / without:F2} x ({guessed.Min() / plain.Max():F2}-{guessed.Max() / plain.Min():F2}); equal tokens"));
    }

    private static async Task LossAsync(ServedModel server, string name, string signal)
    {
        int[] prompt = Prompt(64, 7);
        TokenStream quiet = await server.StreamAsync(prompt, 200);
        using JsonDocument topology = JsonDocument.Parse(await server.Http.GetStringAsync(new Uri("/topology", UriKind.Relative)));
        int pid = topology.RootElement.GetProperty("ranks")[1].GetProperty("pid").GetInt32();
        TokenStream hit = await server.StreamAsync(prompt, 200, came: count =>
        {
            if (count == 60)
                Process.Start("kill", ["-" + signal, pid.ToString(CultureInfo.InvariantCulture)]).Dispose();
        });
        double pause = hit.Times.Zip(hit.Times.Skip(1), (a, b) => b - a).Max();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  loss     {name} of rank 1: pause {pause:F2} s, {(quiet.Tokens.SequenceEqual(hit.Tokens) ? "equal tokens" : "TOKENS DIFFER")}"));
    }

    /// <summary>A prompt of so many tokens, another for each seed.</summary>
    public static int[] Prompt(int tokens, int seed) => [.. Enumerable.Range(0, tokens).Select(i => 1000 + (i * 37 + seed * 1009 + i * i * seed) % 5000)];

    private static async Task<int[]> TokensAsync(ServedModel server, string text)
    {
        using HttpResponseMessage answer = await server.Http.PostAsJsonAsync(new Uri("/tokenize", UriKind.Relative), new { prompt = text });
        using JsonDocument body = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
        return [.. body.RootElement.GetProperty("tokens").EnumerateArray().Select(id => id.GetInt32())];
    }

    /// <summary>Each rank's seconds of work, seconds between steps, and steps, so far.</summary>
    public static async Task<(double Busy, double Idle, long Steps)[]> TotalsAsync(ServedModel server)
    {
        using JsonDocument topology = JsonDocument.Parse(await server.Http.GetStringAsync(new Uri("/topology", UriKind.Relative)));
        return [.. topology.RootElement.GetProperty("ranks").EnumerateArray().Select(rank => (
            rank.GetProperty("compute_seconds").GetDouble() + rank.GetProperty("collective_seconds").GetDouble(),
            rank.GetProperty("idle_seconds").GetDouble(),
            long.Parse(rank.GetProperty("steps").GetString()!, CultureInfo.InvariantCulture)))];
    }
}
