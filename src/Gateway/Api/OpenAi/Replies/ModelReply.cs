namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>A model.</summary>
public sealed record ModelReply(string Id, long Created, int MaxModelLen)
{
    public string Object { get; } = "model";

    public string OwnedBy { get; } = "tpserve";

    /// <summary>What an adapter would be made for; there are none, so the model itself.</summary>
    public string Root => Id;

    public string? Parent { get; }
}
