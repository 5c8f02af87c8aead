namespace TpServe.Model.Sampling;

/// <summary>One row of the step whose distribution is asked about a token that is known already: the prompt's next one.</summary>
/// <param name="Row">Row of the step.</param>
/// <param name="TokenId">The token that follows it.</param>
/// <param name="TopLogprobs">Likeliest tokens to report beside it; at least 0.</param>
public readonly record struct PromptLogprobRow(int Row, int TokenId, int TopLogprobs);
