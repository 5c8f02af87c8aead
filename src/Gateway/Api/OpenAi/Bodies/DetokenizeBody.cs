namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>Body of /detokenize.</summary>
public sealed class DetokenizeBody
{
    public string? Model { get; init; }

    public List<int>? Tokens { get; init; }

    /// <summary>Default false.</summary>
    public bool? SkipSpecialTokens { get; init; }
}
