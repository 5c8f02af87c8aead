using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates;

/// <summary>What a chat template sees of one request.</summary>
/// <remarks>
/// Errors   a member of the wrong type fails the rendering with <see cref="ChatTemplateErrorReason.Input"/>.
/// </remarks>
public sealed record ChatTemplateInput
{
    /// <summary>The conversation: a list of maps with role and content.</summary>
    public required Value Messages { get; init; }

    /// <summary>The tools as the request gives them; null becomes none, as in transformers.</summary>
    public Value? Tools { get; init; }

    /// <summary>Documents for retrieval templates; null becomes none.</summary>
    public Value? Documents { get; init; }

    /// <summary>Whether the prompt ends with the opening of an assistant turn.</summary>
    public bool AddGenerationPrompt { get; init; }

    /// <summary>Whether the prompt ends inside the last message, for the model to go on with it.</summary>
    public bool ContinueFinalMessage { get; init; }

    /// <summary>The beginning-of-sequence token; null leaves the variable undefined.</summary>
    public string? BosToken { get; init; }

    /// <summary>The end-of-sequence token; null leaves the variable undefined.</summary>
    public string? EosToken { get; init; }

    /// <summary>Further variables by name (enable_thinking, date_string, ...); they win over the ones above.</summary>
    public IReadOnlyDictionary<string, Value> Extra { get; init; } = new Dictionary<string, Value>();

    /// <summary>The time strftime_now prints.</summary>
    public required DateTimeOffset Now { get; init; }

    /// <summary>
    /// Role names whose text counts as the template's own, for templates that build special tokens out of them (<c>'&lt;|' + role + '|&gt;'</c>).
    /// Empty: every role is the request's data.
    /// </summary>
    public IReadOnlySet<string> TrustedRoles { get; init; } = new HashSet<string>();
}
