namespace TpServe.Model.Sampling;

/// <summary>One row of the step to sample from.</summary>
/// <param name="Row">Row of the step: the sequence's last token.</param>
/// <param name="Settings">How to choose.</param>
/// <param name="Tokens">The sequence so far: prompt, then what was generated. Its length is the position of the token being chosen.</param>
/// <param name="PromptTokens">How many of them are the prompt.</param>
/// <param name="TopLogprobs">Likeliest tokens to report beside the chosen one's logprob; −1 = not even that.</param>
public readonly record struct SampleRow(int Row, SamplingSettings Settings, ReadOnlyMemory<int> Tokens, int PromptTokens, int TopLogprobs)
{
    /// <summary>Tokens generated so far.</summary>
    public int Generated => Tokens.Length - PromptTokens;
}
