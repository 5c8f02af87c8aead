namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>Body of /detokenize.</summary>
public sealed class DetokenizeBody
{
    public string? Model { get; set; }

    public List<int>? Tokens { get; set; }

    /// <summary>Default false.</summary>
    public bool? SkipSpecialTokens { get; set; }
}
