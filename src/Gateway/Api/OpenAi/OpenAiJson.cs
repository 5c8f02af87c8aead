using System.Text.Json;
using System.Text.Json.Serialization;
using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>JSON of the HTTP API, generated at build. Floats are written as the shortest text that reads back to the same bits.</summary>
[JsonSerializable(typeof(CompletionBody))]
[JsonSerializable(typeof(ChatBody))]
[JsonSerializable(typeof(EmbeddingBody))]
[JsonSerializable(typeof(TokenizeBody))]
[JsonSerializable(typeof(DetokenizeBody))]
[JsonSerializable(typeof(LoadLoraBody))]
[JsonSerializable(typeof(UnloadLoraBody))]
[JsonSerializable(typeof(CompletionReply))]
[JsonSerializable(typeof(ChatReply))]
[JsonSerializable(typeof(ChatChunk))]
[JsonSerializable(typeof(EmbeddingReply))]
[JsonSerializable(typeof(float[]))] // a vector as numbers
[JsonSerializable(typeof(ModelReply))]
[JsonSerializable(typeof(ModelListReply))]
[JsonSerializable(typeof(TokenizeReply))]
[JsonSerializable(typeof(DetokenizeReply))]
[JsonSerializable(typeof(VersionReply))]
[JsonSerializable(typeof(StatusReply))]
[JsonSerializable(typeof(ErrorReply))]
[JsonSerializable(typeof(string))] // the two kinds of stop_reason
[JsonSerializable(typeof(int))]
internal sealed partial class OpenAiJson : JsonSerializerContext
{
    /// <summary>The JSON of requests and answers.</summary>
    public static OpenAiJson Api { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        MaxDepth = 64,
        Encoder = JsonBody.Letters,
    });
}
