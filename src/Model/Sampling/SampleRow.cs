namespace TpServe.Model.Sampling;

/// <summary>One row of the step to sample from.</summary>
/// <param name="Row">Row of the step: the sequence's last token.</param>
/// <param name="Settings">How to choose.</param>
/// <param name="Tokens">The sequence so far: prompt, then what was generated. Its length is the position of the token being chosen.</param>
/// <param name="PromptTokens">How many of them are the prompt.</param>
/// <param name="TopLogprobs">Likeliest tokens to report beside the chosen one's logprob; −1 = not even that.</param>
public readonly record struct SampleRow(int Row, SamplingSettings Settings, ReadOnlyMemory<int> Tokens, int PromptTokens, int TopLogprobs)
{
    /// <summary>Tokens that may be chosen, a bit each, the lowest bit of the first byte being token 0; tokens beyond it may not. Empty = all may.</summary>
    public ReadOnlyMemory<byte> Allowed { get => Follows?.Bits ?? field; init; }

    /// <summary>What may be chosen is not known before the row is computed, and then found here; null = it is.</summary>
    public FollowingMask? Follows { get; init; }

    /// <summary>The one token that may be chosen; null = there is a choice.</summary>
    public int? Only { get; init; }

    /// <summary>True where which tokens may be chosen is told for this row apart.</summary>
    public bool IsMasked => Follows is not null || Only is not null || !Allowed.IsEmpty;

    /// <summary>True where some logit is changed before temperature and filters.</summary>
    public bool AdjustsLogits => IsMasked || Settings.AdjustsLogits(Generated);

    /// <summary>Tokens generated so far.</summary>
    public int Generated => Tokens.Length - PromptTokens;
}

/// <summary>What one row may choose, filled in while the row is computed.</summary>
public sealed class FollowingMask
{
    /// <summary>As <see cref="SampleRow.Allowed"/>.</summary>
    public ReadOnlyMemory<byte> Bits { get; set; }
}
