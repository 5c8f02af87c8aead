using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Text.Unicode;
using Grpc.Core;
using Microsoft.AspNetCore.Http.Features;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api;

/// <summary>Reads a request's JSON body: bounded, valid UTF-8, and with faults that name field and place. Writes an answer's.</summary>
internal static class JsonBody
{
    /// <summary>Letters of every language as they are: answers are JSON of their own, never part of a page.</summary>
    public static JavaScriptEncoder Letters { get; } = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    /// <summary>The body as T.</summary>
    /// <exception cref="BadHttpRequestException">The body is longer than the limit (413).</exception>
    /// <exception cref="RequestRejectedException">It is not the JSON expected.</exception>
    public static async Task<T> ReadAsync<T>(HttpContext http, JsonTypeInfo<T> type, int limitBytes)
        where T : class
    {
        byte[] body = await ReadBytesAsync(http, limitBytes);
        if (body.Length == 0)
            throw RequestRejectedException.Invalid("body", "The body is empty; it must be a JSON object.");
        if (!Utf8.IsValid(body))
            throw RequestRejectedException.Invalid("body", "The body is not valid UTF-8.");
        try
        {
            T read = JsonSerializer.Deserialize(body, type) ?? throw RequestRejectedException.Invalid("body", "The body is null; it must be a JSON object.");
            if (Utf8Text.HalfPairIn(body) is { } place)
            {
                string field = place.Length == 0 ? "body" : place;
                throw RequestRejectedException.Invalid(field, $"'{field}' is not valid Unicode: an escape stands for half of a surrogate pair.");
            }
            return read;
        }
        catch (JsonException fault)
        {
            throw Rejection(fault);
        }
    }

    /// <summary>Answers with JSON.</summary>
    public static Task WriteAsync<T>(HttpContext http, T reply, JsonTypeInfo<T> type)
    {
        http.Response.ContentType = "application/json; charset=utf-8";
        return JsonSerializer.SerializeAsync(http.Response.Body, reply, type, http.RequestAborted);
    }

    /// <summary>The text of a JSON string.</summary>
    public static string Text(JsonElement element, string field) =>
        element.GetString() ?? throw RequestRejectedException.Invalid(field, $"'{field}' must be a string.");

    /// <summary>The text of a member; null = there is none.</summary>
    /// <exception cref="RequestRejectedException">It is no string.</exception>
    public static string? Text(JsonElement element, string member, string field) =>
        !element.TryGetProperty(member, out JsonElement value) || value.ValueKind == JsonValueKind.Null ? null
        : value.ValueKind == JsonValueKind.String ? Text(value, $"{field}.{member}")
        : throw RequestRejectedException.Invalid($"{field}.{member}", $"'{field}.{member}' must be a string.");

    /// <summary>The text of a member.</summary>
    /// <exception cref="RequestRejectedException">There is none, or it is no string.</exception>
    public static string RequiredText(JsonElement element, string member, string field) =>
        Text(element, member, field) ?? throw RequestRejectedException.Invalid($"{field}.{member}", $"'{field}.{member}' must be set.");

    /// <summary>Refuses what is no object.</summary>
    public static void RequireObject(JsonElement element, string field)
    {
        if (element.ValueKind != JsonValueKind.Object)
            throw RequestRejectedException.Invalid(field, $"'{field}' must be an object.");
    }

    /// <summary>A value as it is written in the body.</summary>
    public static string Raw(JsonElement value) => Encoding.UTF8.GetString(JsonMarshal.GetRawUtf8Value(value));

    private static async Task<byte[]> ReadBytesAsync(HttpContext http, int limitBytes)
    {
        if (http.Request.ContentLength > limitBytes)
            throw TooLong(limitBytes);
        if (http.Request.Headers.ContentEncoding is { Count: > 0 } encoding && !encoding.ToString().Equals("identity", StringComparison.OrdinalIgnoreCase))
            throw new BadHttpRequestException($"Content-Encoding '{encoding}' is not read here; gzip and deflate are.", StatusCodes.Status415UnsupportedMediaType);
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
            size.MaxRequestBodySize = limitBytes;
        PipeReader reader = http.Request.BodyReader;
        while (true)
        {
            ReadResult read;
            try
            {
                read = await reader.ReadAsync(http.RequestAborted);
            }
            catch (InvalidDataException)
            {
                throw RequestRejectedException.Invalid("body", "The body is not compressed as its Content-Encoding says.");
            }
            if (read.Buffer.Length > limitBytes)
                throw TooLong(limitBytes);
            if (read.IsCompleted)
            {
                byte[] body = read.Buffer.ToArray();
                reader.AdvanceTo(read.Buffer.End); // else the connection would end with this request
                return body;
            }
            reader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
        }
    }

    private static BadHttpRequestException TooLong(int limitBytes) =>
        new($"The body is longer than {limitBytes} bytes.", StatusCodes.Status413PayloadTooLarge);

    private static string Field(string? path) => path switch
    {
        null or "$" or "" => "body",
        _ when path.StartsWith("$.", StringComparison.Ordinal) => path[2..],
        _ => path,
    };

    // The reader's message ends with path and position in its own words, and for wrong types with names that mean nothing to a client.
    private static RequestRejectedException Rejection(JsonException fault)
    {
        string place = $"line {fault.LineNumber + 1}, byte {fault.BytePositionInLine + 1}";
        if (fault.InnerException is JsonException syntax)
            return new RequestRejectedException(
                StatusCode.InvalidArgument, "JSON_MALFORMED", $"The body is not JSON: {Trim(syntax.Message)} ({place})", "body");
        string field = Field(fault.Path);
        return RequestRejectedException.Invalid(
            field, field == "body" ? $"The body must be a JSON object ({place})." : $"'{field}' has the wrong type or range ({place}).");
    }

    private static string Trim(string message)
    {
        int end = message.IndexOf(" LineNumber:", StringComparison.Ordinal);
        return end < 0 ? message : message[..end];
    }
}
