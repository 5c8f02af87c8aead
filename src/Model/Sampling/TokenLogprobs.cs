namespace TpServe.Model.Sampling;

/// <summary>Natural logarithms of the model's distribution at one position, before penalties, temperature and filters.</summary>
/// <param name="Logprob">Of the token itself.</param>
/// <param name="Rank">1 = likeliest; equal logits rank by id.</param>
/// <param name="TopIds">The likeliest tokens, descending, ties to the lower id.</param>
/// <param name="TopLogprobs">Theirs.</param>
public sealed record TokenLogprobs(float Logprob, int Rank, int[] TopIds, float[] TopLogprobs);
