namespace TpServe.Gateway.Requests;

/// <summary>When an output ends: every value in force. Meaning and ranges: StoppingOptions of the proto.</summary>
public sealed record ResolvedStopping
{
    /// <summary>Most tokens of one output; 0 = only the prompt is computed.</summary>
    public required int MaxTokens { get; init; }

    /// <summary>Tokens before which nothing but MaxTokens ends the output.</summary>
    public required int MinTokens { get; init; }

    /// <summary>Not empty strings, in the request's order.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>The request's own.</summary>
    public IReadOnlySet<int> StopTokenIds { get; init; } = new HashSet<int>();

    /// <summary>The request's and, unless ignore_eos, the model's.</summary>
    public IReadOnlySet<int> EndTokenIds { get; init; } = new HashSet<int>();

    /// <summary>The model's own end tokens do not end the output.</summary>
    public required bool IgnoreEos { get; init; }

    /// <summary>The text keeps what ended it.</summary>
    public required bool IncludeStop { get; init; }
}
