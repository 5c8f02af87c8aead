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
    public ReadOnlyMemory<byte> Allowed { get; init; }

    /// <summary>True where some logit is changed before temperature and filters.</summary>
    public bool AdjustsLogits => !Allowed.IsEmpty || Settings.AdjustsLogits(Generated);

    /// <summary>Tokens generated so far.</summary>
    public int Generated => Tokens.Length - PromptTokens;
}
