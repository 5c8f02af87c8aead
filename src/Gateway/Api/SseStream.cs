using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.Extensions.Primitives;
using TpServe.Gateway.Access;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api;

/// <summary>Server-sent events: the event's name where the dialect has names, "data: JSON", an empty line, and at the end, where the dialect has it, "data: [DONE]".</summary>
/// <remarks>
/// The answer's head goes out with the first event, or a moment after the request was taken in: a failure before that has a status, and one that waits is known to. Events of a stream that can be resumed carry
/// an id, "REQUEST:SEQ", counted from 1: a client that comes back with it as Last-Event-ID is told what came after it.
/// </remarks>
/// <param name="http">The call.</param>
/// <param name="requestId">Names the stream to come back to; null = it cannot be resumed.</param>
/// <param name="seen">Events that the client has seen before it lost its connection: they are counted and not sent.</param>
internal sealed class SseStream(HttpContext http, string? requestId = null, long seen = 0)
{
    private static readonly TimeSpan s_keepAlive = TimeSpan.FromSeconds(15), s_head = TimeSpan.FromMilliseconds(250);

    private long _seq;
    private bool _begun;

    /// <summary>Sends one event.</summary>
    /// <param name="value">Its data.</param>
    /// <param name="type">How that is JSON.</param>
    /// <param name="name">Its name; null = it has none.</param>
    public async Task WriteAsync<T>(T value, JsonTypeInfo<T> type, string? name = null)
    {
        if (++_seq <= seen)
            return;
        Begin();
        PipeWriter body = http.Response.BodyWriter;
        if (name is not null)
            body.Write(Encoding.ASCII.GetBytes($"event: {name}\n"));
        body.Write("data: "u8);
        using (Utf8JsonWriter writer = new(body, new JsonWriterOptions { Encoder = JsonBody.Letters }))
            JsonSerializer.Serialize(writer, value, type);
        EndEvent(body);
        await body.FlushAsync(http.RequestAborted);
    }

    /// <summary>The events as they come; while none does, a line that clients and proxies pass over goes out: the first one soon, with the head, then every 15 s.</summary>
    public async IAsyncEnumerable<T> KeptAliveAsync<T>(IAsyncEnumerable<T> source, TimeProvider clock)
    {
        await using IAsyncEnumerator<T> events = source.GetAsyncEnumerator(http.RequestAborted);
        while (true)
        {
            Task<bool> next = events.MoveNextAsync().AsTask();
            try
            {
                while (!next.IsCompleted)
                {
                    using CancellationTokenSource came = new();
                    Task silence = Task.Delay(_begun ? s_keepAlive : s_head, clock, came.Token);
                    if (await Task.WhenAny(next, silence) == silence)
                        await CommentAsync("keep-alive");
                    await came.CancelAsync();
                }
            }
            finally
            {
                await next; // a source in the middle of a step cannot be disposed; where the client has left it ends by that
            }
            if (!next.Result)
                yield break;
            yield return events.Current;
        }
    }

    /// <summary>Sends a line that clients pass over: the stream lives.</summary>
    public async Task CommentAsync(string text)
    {
        Begin();
        http.Response.BodyWriter.Write(Encoding.UTF8.GetBytes($": {text}\n\n"));
        await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
    }

    /// <summary>The stream has come to its end, which its last event has told.</summary>
    /// <exception cref="RequestRejectedException">The client says that it has seen more than there was.</exception>
    public void End()
    {
        if (_seq < seen)
            throw RequestRejectedException.Invalid("Last-Event-ID", string.Create(CultureInfo.InvariantCulture, $"'Last-Event-ID' names event {seen}; the stream has {_seq}."));
        Begin(); // a client that has seen everything gets an empty stream
    }

    /// <summary>Sends the mark of a stream that has come to its end.</summary>
    /// <exception cref="RequestRejectedException">The client says that it has seen more than there was.</exception>
    public async Task DoneAsync()
    {
        _seq++;
        End();
        http.Response.BodyWriter.Write("data: [DONE]"u8);
        EndEvent(http.Response.BodyWriter);
        await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
    }

    private void EndEvent(PipeWriter body)
    {
        if (requestId is not null)
            body.Write(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"\nid: {requestId}:{_seq}")));
        body.Write("\n\n"u8);
    }

    private void Begin()
    {
        _begun = true;
        if (http.Response.HasStarted)
            return;
        http.Response.ContentType = "text/event-stream; charset=utf-8";
        http.Response.Headers.CacheControl = "no-cache";
        http.Response.Headers["X-Accel-Buffering"] = "no"; // proxies must not collect events
    }
}

/// <summary>A stream that its client lost and comes back to.</summary>
internal static class ResumedStream
{
    /// <summary>Writes a stream's events from the first one on; those the client has seen are counted and not sent.</summary>
    public delegate Task Presentation(HttpContext http, long seen, IAsyncEnumerable<GenerationEvent> events);

    /// <summary>Goes on with the stream that Last-Event-ID names. False where the call has no such header: it is a new request.</summary>
    /// <exception cref="RequestRejectedException">The header is malformed, or there is no such stream any more.</exception>
    public static async Task<bool> TryAsync(HttpContext http, InferenceEngine engine)
    {
        if (!http.Request.Headers.TryGetValue("Last-Event-ID", out StringValues header) || StringValues.IsNullOrEmpty(header))
            return false;
        string last = header.ToString();
        int colon = last.LastIndexOf(':');
        if (colon < 1 || !long.TryParse(last.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out long seen))
            throw RequestRejectedException.Invalid("Last-Event-ID", "'Last-Event-ID' must be an id that a stream gave: REQUEST:SEQ.");
        string requestId = last[..colon];
        if (engine.FindResumable(requestId, Caller.Of(http)).Presentation is not Presentation present)
            throw RequestRejectedException.Invalid("Last-Event-ID", "The stream that 'Last-Event-ID' names was not opened over HTTP; resume it over gRPC.");
        await present(http, seen, engine.ResumeAsync(requestId, Caller.Of(http), http.RequestAborted));
        return true;
    }
}
