using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;

namespace TpServe.Network.Tests;

/// <summary>What tests ask of a server over HTTP.</summary>
internal static class Completions
{
    private const string Prompt = "The tensor parallel server splits each matrix into shards. Every rank computes its part, and then";
    private static readonly TimeSpan s_start = TimeSpan.FromSeconds(60);

    /// <summary>Waits until it serves, or again does not.</summary>
    public static async Task UntilReadyAsync(this HttpClient client, RunningProgram server, bool ready = true)
    {
        string last = "";
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(50));
        for (long start = Stopwatch.GetTimestamp(); ;)
        {
            if (server.HasExited)
                throw new InvalidOperationException($"The server ended: {server.Output}");
            try
            {
                using HttpResponseMessage answer = await client.GetAsync(new Uri("/health/ready", UriKind.Relative));
                if (answer.StatusCode == HttpStatusCode.OK == ready)
                    return;
            }
            catch (HttpRequestException fault)
            {
                last = fault.GetBaseException().Message; // it does not listen yet
            }
            if (Stopwatch.GetElapsedTime(start) > s_start)
                throw new TimeoutException($"The server is not {(ready ? "ready" : "unready")} after {s_start.TotalSeconds:F0} s ({last}): {server.Output}");
            await pause.WaitForNextTickAsync();
        }
    }

    /// <summary>Tokens and log probabilities as text: equal text is equal bits.</summary>
    public static async Task<string> AnswerAsync(this HttpClient client, int tokens)
    {
        using HttpResponseMessage answer = await client.PostAsJsonAsync(new Uri("/v1/completions", UriKind.Relative), Body(tokens, stream: false));
        string text = await answer.Content.ReadAsStringAsync();
        if (answer.StatusCode != HttpStatusCode.OK)
            throw new HttpRequestException($"{(int)answer.StatusCode} {text}");
        using JsonDocument document = JsonDocument.Parse(text);
        JsonElement choice = document.RootElement.GetProperty("choices")[0];
        return choice.GetProperty("text").GetString() + choice.GetProperty("token_ids").GetRawText() + choice.GetProperty("logprobs").GetRawText();
    }

    /// <summary>The text of a stream, piece by piece; fails where it ends otherwise than by its length.</summary>
    public static async IAsyncEnumerable<string> StreamAsync(this HttpClient client, int tokens)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, new Uri("/v1/completions", UriKind.Relative)) { Content = JsonContent.Create(Body(tokens, stream: true)) };
        using HttpResponseMessage answer = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        using StreamReader reader = new(await answer.Content.ReadAsStreamAsync());
        string? reason = null;
        while (await reader.ReadLineAsync() is { } line)
        {
            if (!line.StartsWith("data: {", StringComparison.Ordinal))
                continue;
            using JsonDocument document = JsonDocument.Parse(line["data: ".Length..]);
            if (!document.RootElement.TryGetProperty("choices", out JsonElement choices))
                throw new HttpRequestException(line);
            if (choices.GetArrayLength() == 0)
                continue;
            reason = choices[0].GetProperty("finish_reason").GetString() ?? reason;
            yield return choices[0].GetProperty("text").GetString() ?? "";
        }
        if (reason != "length")
            throw new HttpRequestException($"the stream ended with '{reason}'");
    }

    /// <summary>The text that <see cref="StreamAsync"/> gives in pieces.</summary>
    public static async Task<string> TextAsync(this HttpClient client, int tokens)
    {
        List<string> pieces = [];
        await foreach (string piece in client.StreamAsync(tokens))
            pieces.Add(piece);
        return string.Concat(pieces);
    }

    private static object Body(int tokens, bool stream) => stream
        ? new { prompt = Prompt, max_tokens = tokens, temperature = 0, ignore_eos = true, stream = true }
        : new { prompt = Prompt, max_tokens = tokens, temperature = 0, ignore_eos = true, logprobs = 2, return_token_ids = true };
}
