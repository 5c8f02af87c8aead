using System.Globalization;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace TpServe.Gateway.Commands.Bench;

/// <summary>Any server of OpenAI's API: prompts are words, each event is a piece, and the usage of the last one says how many tokens it was.</summary>
internal sealed class OpenAiTarget : IBenchTarget
{
    private const int ProbeWords = 64;

    private readonly HttpClient _http;
    private readonly Uri _base;
    private readonly bool _chat, _ignoreEos;
    private readonly float? _temperature;
    private string? _model;

    /// <param name="address">The server, with or without /v1.</param>
    /// <param name="key">Key that it asks for; null = none.</param>
    /// <param name="model">What requests name; null = the first that it lists.</param>
    /// <param name="chat">Whether /v1/chat/completions is asked, not /v1/completions.</param>
    /// <param name="ignoreEos">Whether answers go on to their last token, by vLLM's field.</param>
    /// <param name="temperature">Null = the server's.</param>
    public OpenAiTarget(Uri address, string? key, string? model, bool chat, bool ignoreEos, float? temperature)
    {
        (_chat, _ignoreEos, _temperature, _model) = (chat, ignoreEos, temperature, model);
        string text = address.AbsoluteUri.TrimEnd('/');
        _base = new Uri((text.EndsWith("/v1", StringComparison.Ordinal) ? text : text + "/v1") + "/");
        _http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { Timeout = Timeout.InfiniteTimeSpan };
        if (key is not null)
            _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
    }

    /// <inheritdoc/>
    public string Name => $"{_base}{(_chat ? "chat/completions" : "completions")}, model {_model}";

    /// <inheritdoc/>
    public async Task<PromptPool> PrepareAsync(CancellationToken cancellation)
    {
        try
        {
            _model ??= await FirstModelAsync(cancellation);
        }
        catch (Exception fault) when (fault is HttpRequestException or JsonException)
        {
            throw new BenchFault($"{_base}models cannot be read: {fault.Message} --model NAME does without.");
        }
        // How long a word is for its tokenizer, and whether it answers at all.
        BenchRequest probe = new(string.Join(' ', Enumerable.Range(0, ProbeWords).Select(at => BenchWorkload.Words[at * 31 % BenchWorkload.Words.Count])), [], 2);
        BenchRecord record = new(BenchRun.Now());
        await RunAsync(probe, record, cancellation);
        if (record.Failure is not null)
            throw new BenchFault($"{Name} does not answer: {record.Failure}.");
        return new PromptPool(BenchWorkload.Words, [], record.InputTokens > 0 ? Math.Max(0.5, record.InputTokens / (double)ProbeWords) : 1.4);
    }

    private async Task<string> FirstModelAsync(CancellationToken cancellation)
    {
        JsonNode? list = await _http.GetFromJsonAsync<JsonNode>(new Uri(_base, "models"), cancellation);
        return list?["data"]?[0]?["id"]?.GetValue<string>() ?? throw new JsonException("it lists no model.");
    }

    /// <inheritdoc/>
    public async Task RunAsync(BenchRequest request, BenchRecord record, CancellationToken cancellation)
    {
        JsonObject body = new()
        {
            ["model"] = _model,
            ["max_tokens"] = request.OutputTokens,
            ["stream"] = true,
            ["stream_options"] = new JsonObject { ["include_usage"] = true },
        };
        if (_chat)
            body["messages"] = new JsonArray(new JsonObject { ["role"] = "user", ["content"] = request.Prompt });
        else
            body["prompt"] = request.Prompt;
        if (_temperature is { } temperature)
            body["temperature"] = temperature;
        if (_ignoreEos)
            body["ignore_eos"] = true;
        try
        {
            using HttpRequestMessage message = new(HttpMethod.Post, new Uri(_base, _chat ? "chat/completions" : "completions")) { Content = JsonContent.Create(body) };
            using HttpResponseMessage response = await _http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, cancellation);
            if (!response.IsSuccessStatusCode)
            {
                record.Failure = string.Create(CultureInfo.InvariantCulture, $"HTTP {(int)response.StatusCode}");
                return;
            }
            await ReadAsync(response, record, cancellation);
        }
        catch (HttpRequestException fault)
        {
            record.Failure = fault.HttpRequestError == HttpRequestError.ConnectionError ? "connection refused" : "connection lost";
        }
        catch (IOException)
        {
            record.Failure = "connection lost";
        }
        catch (Exception fault) when (fault is JsonException or InvalidOperationException)
        {
            record.Failure = "an event that is no answer";
        }
    }

    private static async Task ReadAsync(HttpResponseMessage response, BenchRecord record, CancellationToken cancellation)
    {
        using StreamReader lines = new(await response.Content.ReadAsStreamAsync(cancellation));
        bool isWhole = false;
        while (await lines.ReadLineAsync(cancellation) is { } line)
        {
            if (!line.StartsWith("data:", StringComparison.Ordinal))
                continue;
            string data = line[5..].Trim();
            if (data == "[DONE]")
            {
                isWhole = true;
                break;
            }
            using JsonDocument chunk = JsonDocument.Parse(data);
            if (chunk.RootElement.TryGetProperty("error", out _))
            {
                record.Failure = "an error in the stream";
                return;
            }
            if (HasText(chunk.RootElement))
            {
                record.Pieces.Add(BenchRun.Now());
                record.OutputTokens++;
            }
            if (chunk.RootElement.TryGetProperty("usage", out JsonElement usage) && usage.ValueKind == JsonValueKind.Object)
            {
                record.InputTokens = Count(usage, "prompt_tokens", record.InputTokens);
                record.OutputTokens = Count(usage, "completion_tokens", record.OutputTokens);
            }
        }
        if (!isWhole)
            record.Failure = "connection lost";
    }

    private static int Count(JsonElement usage, string name, int otherwise) => usage.TryGetProperty(name, out JsonElement count) && count.TryGetInt32(out int value) ? value : otherwise;

    private static bool HasText(JsonElement chunk)
    {
        if (!chunk.TryGetProperty("choices", out JsonElement choices) || choices.ValueKind != JsonValueKind.Array || choices.GetArrayLength() == 0)
            return false;
        JsonElement choice = choices[0];
        return choice.TryGetProperty("delta", out JsonElement delta) ? Text(delta, "content") || Text(delta, "reasoning_content") || Text(delta, "reasoning") : Text(choice, "text");

        static bool Text(JsonElement holder, string name) => holder.TryGetProperty(name, out JsonElement text) && text.ValueKind == JsonValueKind.String && text.GetString()!.Length > 0;
    }

    public void Dispose() => _http.Dispose();
}
