using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Answer of /tokenize.</summary>
public sealed record TokenizeReply(int Count, int MaxModelLen, IReadOnlyList<int> Tokens)
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<string>? TokenStrs { get; init; }
}
