namespace TpServe.Gateway.Requests;

/// <summary>Caps on what one request may ask for.</summary>
public sealed record RequestLimits
{
    /// <summary>Outputs of one request. Default 8.</summary>
    public int Outputs { get; init; } = 8;

    /// <summary>Likeliest tokens reported with each token. Default 20.</summary>
    public int TopLogprobs { get; init; } = 20;

    /// <summary>Stop strings. Default 16.</summary>
    public int StopStrings { get; init; } = 16;

    /// <summary>Length of a stop string in bytes of UTF-8. Default 256.</summary>
    public int StopStringBytes { get; init; } = 256;

    /// <summary>Stop token ids. Default 64.</summary>
    public int StopTokenIds { get; init; } = 64;

    /// <summary>Entries of logit_bias. Default 1024.</summary>
    public int LogitBias { get; init; } = 1024;

    /// <summary>Messages of a conversation. Default 4096.</summary>
    public int Messages { get; init; } = 4096;

    /// <summary>Tools of a request. Default 128.</summary>
    public int Tools { get; init; } = 128;

    /// <summary>Schemas and descriptions of all tools together, in UTF-16 units. Default 512 Ki.</summary>
    public int ToolCharacters { get; init; } = 512 << 10;

    /// <summary>Prompts of one HTTP completion request, and prompts times n. Default 64.</summary>
    public int Prompts { get; init; } = 64;

    /// <summary>Inputs of one request that embeds. Default 2048, as OpenAI's.</summary>
    public int EmbeddingInputs { get; init; } = 2048;

    /// <summary>Length of request_id in characters. Default 128.</summary>
    public int RequestIdLength { get; init; } = 128;

    /// <summary>Bytes of a request body or gRPC message. Default 4 MiB.</summary>
    public int BodyBytes { get; init; } = 4 << 20;

    /// <summary>UTF-16 units of text that are tokenized at once, over all requests; what comes beyond waits. Default 4 Mi, a body's worth.</summary>
    public long EncodingCharacters { get; init; } = 4 << 20;

    /// <summary>Texts up to this length never wait for that. Default 64 Ki.</summary>
    public long LightCharacters { get; init; } = 64 << 10;

    /// <summary>Largest priority, and the smallest with its sign turned.</summary>
    public const int Priority = 100;

    /// <summary>Tokens guessed ahead in one step.</summary>
    public const int DraftTokens = 16;

    /// <summary>Length of a cache salt in bytes of UTF-8.</summary>
    public const int CacheSaltBytes = 128;

    /// <summary>What a request may be called.</summary>
    public string RequestIdInWords => $"1 to {RequestIdLength} printable ASCII characters without spaces";

    /// <summary>Whether a request may be called so.</summary>
    public bool IsRequestId(string id)
    {
        ArgumentNullException.ThrowIfNull(id);
        return id.Length > 0 && id.Length <= RequestIdLength && id.All(character => character is >= '!' and <= '~');
    }
}
