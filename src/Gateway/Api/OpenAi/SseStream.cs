using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>Server-sent events as OpenAI writes them: "data: JSON", an empty line, and at the end "data: [DONE]".</summary>
/// <remarks>The answer's head goes out with the first event, so that a failure before it can still have a status.</remarks>
internal sealed class SseStream(HttpContext http)
{
    /// <summary>Sends one event.</summary>
    public async Task WriteAsync<T>(T value, JsonTypeInfo<T> type)
    {
        Begin();
        PipeWriter body = http.Response.BodyWriter;
        body.Write("data: "u8);
        using (Utf8JsonWriter writer = new(body, new JsonWriterOptions { Encoder = OpenAiJson.Letters }))
            JsonSerializer.Serialize(writer, value, type);
        body.Write("\n\n"u8);
        await body.FlushAsync(http.RequestAborted);
    }

    /// <summary>Sends the mark of a stream that has come to its end.</summary>
    public async Task DoneAsync()
    {
        Begin();
        http.Response.BodyWriter.Write("data: [DONE]\n\n"u8);
        await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
    }

    private void Begin()
    {
        if (http.Response.HasStarted)
            return;
        http.Response.ContentType = "text/event-stream; charset=utf-8";
        http.Response.Headers.CacheControl = "no-cache";
        http.Response.Headers["X-Accel-Buffering"] = "no"; // proxies must not collect events
    }
}

/// <summary>Whether an answer is streamed, and whether the stream tells its usage.</summary>
internal readonly record struct StreamChoice(bool Streams, bool TellsUsage)
{
    /// <summary>What a body asks for.</summary>
    public static StreamChoice Of(GenerationBody body)
    {
        bool streams = body.Stream ?? false;
        if (body.StreamOptions is not null && !streams)
            throw RequestRejectedException.Invalid("stream_options", "'stream_options' needs 'stream' to be true.");
        return new StreamChoice(streams, body.StreamOptions?.IncludeUsage ?? false);
    }

    /// <summary>The usage member of chunks before the last: null where the last will have one, else no such member.</summary>
    public UsageReply? UsageOfChunks => TellsUsage ? UsageReply.NotYet : null;
}
