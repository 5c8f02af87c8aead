using System.Buffers;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace TpServe.Gateway.Api.Ollama;

/// <summary>JSON of Ollama's API, generated at build.</summary>
[JsonSerializable(typeof(OllamaChatBody))]
[JsonSerializable(typeof(OllamaGenerateBody))]
[JsonSerializable(typeof(OllamaShowBody))]
[JsonSerializable(typeof(OllamaEmbedBody))]
[JsonSerializable(typeof(OllamaEmbedReply))]
[JsonSerializable(typeof(OllamaEmbeddingReply))]
[JsonSerializable(typeof(OllamaReply))]
[JsonSerializable(typeof(OllamaModelsReply))]
[JsonSerializable(typeof(OllamaShowReply))]
[JsonSerializable(typeof(OllamaVersionReply))]
[JsonSerializable(typeof(OllamaErrorReply))]
[JsonSerializable(typeof(string))] // the kinds of model_info
[JsonSerializable(typeof(long))]
internal sealed partial class OllamaJson : JsonSerializerContext
{
    /// <summary>The JSON of requests and answers.</summary>
    public static OllamaJson Api { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        MaxDepth = 64,
        Encoder = JsonBody.Letters,
    });
}

/// <summary>A stream of lines, each a JSON object. The answer's head goes out with the first, so that a failure before it can still have a status.</summary>
internal static class JsonLines
{
    /// <summary>Sends one line.</summary>
    public static async Task WriteAsync<T>(HttpContext http, T value, JsonTypeInfo<T> type)
    {
        if (!http.Response.HasStarted)
        {
            http.Response.ContentType = "application/x-ndjson";
            http.Response.Headers["X-Accel-Buffering"] = "no"; // proxies must not collect lines
        }
        using (Utf8JsonWriter writer = new(http.Response.BodyWriter, new JsonWriterOptions { Encoder = JsonBody.Letters }))
            JsonSerializer.Serialize(writer, value, type);
        http.Response.BodyWriter.Write("\n"u8);
        await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
    }
}

/// <summary>{"error": "…"}; in a stream its last line.</summary>
internal sealed class OllamaErrors : ErrorDialect
{
    /// <inheritdoc/>
    protected override IReadOnlyDictionary<string, string> Names { get; } = new Dictionary<string, string>
    {
        ["max_tokens"] = "options.num_predict",
        ["stop"] = "options.stop",
        ["temperature"] = "options.temperature",
        ["top_p"] = "options.top_p",
        ["min_p"] = "options.min_p",
        ["presence_penalty"] = "options.presence_penalty",
        ["frequency_penalty"] = "options.frequency_penalty",
        ["repetition_penalty"] = "options.repeat_penalty",
        ["constraint.json_schema"] = "format",
        ["reasoning_effort"] = "think",
    };

    /// <inheritdoc/>
    public override Task AnswerAsync(HttpContext http, int status, ApiError error) => JsonBody.WriteAsync(http, new OllamaErrorReply(error.Message), OllamaJson.Api.OllamaErrorReply);

    /// <inheritdoc/>
    public override Task EndStreamAsync(HttpContext http, int status, ApiError error) => JsonLines.WriteAsync(http, new OllamaErrorReply(error.Message), OllamaJson.Api.OllamaErrorReply);
}
