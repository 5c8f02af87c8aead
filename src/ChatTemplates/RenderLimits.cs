namespace TpServe.ChatTemplates;

/// <summary>What one rendering may cost; beyond any of these it ends with <see cref="ChatTemplateErrorReason.LimitExceeded"/>.</summary>
/// <param name="MaxSteps">Evaluated nodes, plus one for each element copied and each 32 characters of text made.</param>
/// <param name="MaxDepth">Nested evaluations: a macro that calls itself uses about eight a call.</param>
/// <param name="MaxOutputChars">Length of the result, and of every text on the way to it, in UTF-16 units.</param>
/// <param name="MaxTime">Wall-clock time.</param>
public sealed record RenderLimits(int MaxSteps, int MaxDepth, int MaxOutputChars, TimeSpan MaxTime)
{
    /// <summary>Enough for a conversation of several megabytes, and reached by a runaway template within a second.</summary>
    public static RenderLimits Default { get; } = new(2_000_000, 1_000, 8_000_000, TimeSpan.FromMilliseconds(900));
}
