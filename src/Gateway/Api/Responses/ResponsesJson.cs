using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.Responses;

/// <summary>JSON of /v1/responses, generated at build.</summary>
[JsonSerializable(typeof(ResponsesBody))]
[JsonSerializable(typeof(ResponseReply))]
[JsonSerializable(typeof(ResponseEvent))]
[JsonSerializable(typeof(InputItemsReply))]
[JsonSerializable(typeof(DeletedReply))]
[JsonSerializable(typeof(JsonObject))]
internal sealed partial class ResponsesJson : JsonSerializerContext
{
    /// <summary>The JSON of requests and answers.</summary>
    public static ResponsesJson Api { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        MaxDepth = 64,
        Encoder = JsonBody.Letters,
    });

    /// <summary>JSON written here, as an element.</summary>
    public static JsonElement Element(string json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return document.RootElement.Clone();
    }
}
