namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>stream_options.</summary>
public sealed class StreamOptionsBody
{
    /// <summary>A last chunk without choices tells the usage.</summary>
    public bool? IncludeUsage { get; set; }
}
