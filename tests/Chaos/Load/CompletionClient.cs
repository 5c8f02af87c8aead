using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using TpServe.Protos.V1;

namespace TpServe.Chaos.Load;

/// <summary>Asks over HTTP, /v1/completions, in every way a client may, losing the connection and leaving included.</summary>
/// <remarks>Threads  any number of requests at once.</remarks>
internal sealed class CompletionClient(int port) : IDisposable
{
    private static readonly Uri s_path = new("/v1/completions", UriKind.Relative);

    private readonly HttpClient _http = new() { BaseAddress = new Uri($"http://127.0.0.1:{port}"), Timeout = Timeout.InfiniteTimeSpan };

    /// <summary>The answer, at once.</summary>
    /// <exception cref="CompletionException">There is none.</exception>
    public async Task<Answer> AskAsync(KnownRequest request, string id, CancellationToken cancellation)
    {
        using HttpResponseMessage response = await _http.PostAsJsonAsync(s_path, Body(request, id, stream: false), cancellation);
        await RequireAsync(response, cancellation);
        using JsonDocument document = JsonDocument.Parse(await response.Content.ReadAsStringAsync(cancellation));
        Transcript transcript = new(request.Outputs);
        Take(document.RootElement, transcript);
        return transcript.Answer();
    }

    /// <summary>Asks once and compares.</summary>
    public Task<Outcome> UnaryAsync(KnownRequest request, string id, CancellationToken cancellation) =>
        GuardAsync(async () => Outcome.OfAnswer(request.OverHttp!, await AskAsync(request, id, cancellation)), cancellation);

    /// <summary>Reads a stream and compares; loses the connection and comes back so many times, each time after so many events.</summary>
    public Task<Outcome> StreamAsync(KnownRequest request, string id, IReadOnlyList<int> breaks, Random random, CancellationToken cancellation) => GuardAsync(
        async () =>
        {
            Transcript seen = new(request.Outputs);
            foreach (int events in breaks)
            {
                if (await ReadAsync(request, id, seen, events, cancellation))
                    return Outcome.OfAnswer(request.OverHttp!, seen.Answer(), seen.Disorder);
                await Task.Delay(random.Next(200), cancellation);
            }
            await ReadAsync(request, id, seen, int.MaxValue, cancellation);
            return Outcome.OfAnswer(request.OverHttp!, seen.Answer(), seen.Disorder);
        },
        cancellation);

    /// <summary>Leaves for good after so many events.</summary>
    public Task<Outcome> LeaveAsync(KnownRequest request, string id, int events, CancellationToken cancellation) => GuardAsync(
        async () =>
        {
            Transcript seen = new(request.Outputs);
            bool whole = await ReadAsync(request, id, seen, events, cancellation);
            return whole ? Outcome.OfAnswer(request.OverHttp!, seen.Answer(), seen.Disorder) : Outcome.OfBeginning(request.OverHttp!, seen);
        },
        cancellation);

    public void Dispose() => _http.Dispose();

    /// <summary>Opens the stream, or goes on with it, and reads so many events. True where it has come to its end.</summary>
    private async Task<bool> ReadAsync(KnownRequest request, string id, Transcript seen, int events, CancellationToken cancellation)
    {
        using HttpRequestMessage call = new(HttpMethod.Post, s_path) { Content = JsonContent.Create(Body(request, id, stream: true)) };
        if (seen.Seq > 0)
            call.Headers.Add("Last-Event-ID", string.Create(CultureInfo.InvariantCulture, $"{id}:{seen.Seq}"));
        using HttpResponseMessage response = await _http.SendAsync(call, HttpCompletionOption.ResponseHeadersRead, cancellation);
        await RequireAsync(response, cancellation);
        using StreamReader lines = new(await response.Content.ReadAsStreamAsync(cancellation));
        string data = "";
        while (await lines.ReadLineAsync(cancellation) is { } line)
        {
            if (line.StartsWith("data: ", StringComparison.Ordinal))
                data = line["data: ".Length..];
            else if (line.StartsWith("id: ", StringComparison.Ordinal))
                seen.Count(long.Parse(line[(line.LastIndexOf(':') + 1)..], CultureInfo.InvariantCulture));
            else if (line.Length == 0 && data.Length > 0)
            {
                if (data == "[DONE]")
                    return true;
                using JsonDocument document = JsonDocument.Parse(data);
                RequireNoError(document.RootElement);
                Take(document.RootElement, seen);
                data = "";
                if (--events == 0)
                    return false;
            }
        }
        throw new CompletionException("CONNECTION_LOST", "the stream ended before its end mark");
    }

    private static Dictionary<string, object> Body(KnownRequest request, string id, bool stream)
    {
        GenerateRequest asked = request.Body;
        Dictionary<string, object> body = new()
        {
            ["prompt"] = asked.Text,
            ["request_id"] = id,
            ["stream"] = stream,
            ["return_token_ids"] = true,
            ["temperature"] = asked.Sampling.Temperature,
            ["max_tokens"] = asked.Stopping.MaxTokens,
            ["ignore_eos"] = asked.Stopping.IgnoreEos,
            ["stop"] = asked.Stopping.Stop,
        };
        AddIf(asked.Sampling.HasSeed, "seed", asked.Sampling.Seed);
        AddIf(asked.Sampling.HasTopK, "top_k", asked.Sampling.TopK);
        AddIf(asked.Sampling.HasTopP, "top_p", asked.Sampling.TopP);
        AddIf(asked.Sampling.HasMinP, "min_p", asked.Sampling.MinP);
        AddIf(asked.Sampling.HasRepetitionPenalty, "repetition_penalty", asked.Sampling.RepetitionPenalty);
        AddIf(asked.Sampling.HasN, "n", asked.Sampling.N);
        AddIf(asked.Stopping.HasMinTokens, "min_tokens", asked.Stopping.MinTokens);
        AddIf(asked.Response.Logprobs, "logprobs", asked.Response.TopLogprobs);
        AddIf(asked.Response.HasPromptLogprobs, "prompt_logprobs", asked.Response.PromptLogprobs);
        AddIf(asked.HasDraftTokens, "draft_tokens", asked.DraftTokens);
        AddIf(asked.HasPriority, "priority", asked.Priority);
        AddIf(asked.Cache is { HasBypass: true }, "cache_bypass", true);
        AddIf(asked.Cache is { HasSalt: true }, "cache_salt", asked.Cache?.Salt ?? "");
        return body;

        void AddIf(bool given, string name, object value)
        {
            if (given)
                body.Add(name, value);
        }
    }

    private static void Take(JsonElement reply, Transcript seen)
    {
        foreach (JsonElement choice in reply.GetProperty("choices").EnumerateArray())
        {
            int index = choice.GetProperty("index").GetInt32();
            if (index == 0 && choice.TryGetProperty("prompt_token_ids", out JsonElement prompt))
                seen.Prompt = prompt.GetRawText() + (choice.TryGetProperty("prompt_logprobs", out JsonElement logprobs) ? logprobs.GetRawText() : "");
            List<string> reports = [];
            if (choice.TryGetProperty("logprobs", out JsonElement told) && told.ValueKind == JsonValueKind.Object)
                for (int i = 0; i < told.GetProperty("tokens").GetArrayLength(); i++)
                    reports.Add(string.Join(' ', new[] { "tokens", "token_logprobs", "top_logprobs" }.Select(name => told.GetProperty(name)[i].GetRawText())));
            seen.Add(index, choice.GetProperty("text").GetString()!, choice.GetProperty("token_ids").EnumerateArray().Select(id => id.GetInt32()), reports);
            if (choice.GetProperty("finish_reason").GetString() is { } reason)
                seen.End(index, $"{reason} {choice.GetProperty("stop_reason").GetRawText()}");
        }
    }

    private static async Task RequireAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        if (response.StatusCode == HttpStatusCode.OK)
            return;
        string text = await response.Content.ReadAsStringAsync(cancellation);
        using JsonDocument document = JsonDocument.Parse(text.Length > 0 ? text : "{}");
        RequireNoError(document.RootElement);
        throw new CompletionException($"{(int)response.StatusCode}", text);
    }

    private static void RequireNoError(JsonElement reply)
    {
        if (reply.TryGetProperty("error", out JsonElement error))
            throw new CompletionException(error.GetProperty("code").GetString()!.ToUpperInvariant(), error.GetProperty("message").GetString()!);
    }

    private static async Task<Outcome> GuardAsync(Func<Task<Outcome>> ask, CancellationToken cancellation)
    {
        try
        {
            return await ask();
        }
        catch (CompletionException fault)
        {
            return Outcome.OfFailure(fault.Reason, fault.Message, losses: null);
        }
        catch (Exception fault) when (fault is HttpRequestException or IOException && !cancellation.IsCancellationRequested)
        {
            return Outcome.OfFailure("CONNECTION_LOST", fault.Message, losses: null);
        }
    }
}

/// <summary>The server answered with an error.</summary>
internal sealed class CompletionException(string reason, string message) : Exception(message)
{
    /// <summary>In capitals, as over gRPC.</summary>
    public string Reason { get; } = reason;
}
