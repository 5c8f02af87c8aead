namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Answer of /v1/models.</summary>
public sealed record ModelListReply(IReadOnlyList<ModelReply> Data)
{
    public string Object { get; } = "list";
}
