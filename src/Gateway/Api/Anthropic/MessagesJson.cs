using System.Text.Json;
using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.Anthropic;

/// <summary>JSON of /v1/messages, generated at build.</summary>
[JsonSerializable(typeof(MessagesBody))]
[JsonSerializable(typeof(MessageReply))]
[JsonSerializable(typeof(MessageEvent))]
[JsonSerializable(typeof(TokenCountReply))]
[JsonSerializable(typeof(MessagesErrorReply))]
internal sealed partial class MessagesJson : JsonSerializerContext
{
    /// <summary>The JSON of requests and answers.</summary>
    public static MessagesJson Api { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        MaxDepth = 64,
        Encoder = JsonBody.Letters,
    });
}
