using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Answer of /v1/models.</summary>
public sealed record ModelListReply(IReadOnlyList<ModelReply> Data)
{
    public string Object { get; } = "list";
}

/// <summary>A model by one of its names; root is the name that answers have.</summary>
public sealed record ModelReply(string Id, string Root, long Created, int MaxModelLen)
{
    public string Object { get; } = "model";

    public string OwnedBy { get; } = "tpserve";

    /// <summary>The model that an adapter changes; null = it is the model itself.</summary>
    public string? Parent { get; init; }
}

/// <summary>Answer of /health/live and /health/ready: live, ready, starting, lost, stopped, draining; of the adapters' routes: loaded, unloaded, leaving.</summary>
public sealed record StatusReply(string Status);

/// <summary>Answer of /tokenize.</summary>
public sealed record TokenizeReply(int Count, int MaxModelLen, IReadOnlyList<int> Tokens)
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<string>? TokenStrs { get; init; }
}

/// <summary>Answer of /version.</summary>
public sealed record VersionReply(string Version);

/// <summary>Answer of /detokenize and of /apply-template.</summary>
public sealed record DetokenizeReply(string Prompt);

/// <summary>OpenAI's error body.</summary>
public sealed record ErrorReply(ErrorReply.Detail Error)
{
    /// <summary>What went wrong.</summary>
    /// <param name="Message">For people.</param>
    /// <param name="Type">invalid_request_error, rate_limit_error, server_error.</param>
    /// <param name="Param">The field at fault, if one is.</param>
    /// <param name="Code">The reason, for programs.</param>
    public sealed record Detail(string Message, string Type, string? Param, string Code);
}
