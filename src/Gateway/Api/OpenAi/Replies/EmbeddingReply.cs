namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Answer of /v1/embeddings.</summary>
public sealed record EmbeddingReply(IReadOnlyList<EmbeddingItem> Data, string Model, EmbeddingUsage Usage)
{
    public string Object { get; } = "list";
}

/// <summary>The vector of one input.</summary>
/// <param name="Index">Which input.</param>
/// <param name="Embedding">Its numbers, or base64 text of its float32 values, little-endian.</param>
public sealed record EmbeddingItem(int Index, object Embedding)
{
    public string Object { get; } = "embedding";
}

/// <summary>Tokens of all inputs.</summary>
public sealed record EmbeddingUsage(int PromptTokens)
{
    public int TotalTokens { get; } = PromptTokens;
}
