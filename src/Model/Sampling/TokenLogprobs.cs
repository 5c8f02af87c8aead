using TpServe.Kernels;

namespace TpServe.Model.Sampling;

/// <summary>Natural logarithms of the model's distribution at one position, before penalties, temperature and filters.</summary>
/// <param name="Logprob">Of the token itself.</param>
/// <param name="Rank">1 = likeliest; equal logits rank by id.</param>
/// <param name="TopIds">The likeliest tokens, descending, ties to the lower id.</param>
/// <param name="TopLogprobs">Theirs.</param>
public sealed record TokenLogprobs(float Logprob, int Rank, int[] TopIds, float[] TopLogprobs)
{
    /// <summary>Of a token that the device has drawn.</summary>
    /// <param name="found">Where it stands.</param>
    /// <param name="ids">The likeliest tokens of its row, as many as are wanted or more; −1 = no more.</param>
    /// <param name="logits">Theirs.</param>
    /// <param name="top">How many are wanted.</param>
    internal static TokenLogprobs Of(DrawnLikelihood found, ReadOnlySpan<int> ids, ReadOnlySpan<float> logits, int top)
    {
        double sum = found.LogSum;
        int none = ids[..top].IndexOf(-1), count = none < 0 ? top : none;
        float[] logprobs = new float[count];
        for (int i = 0; i < count; i++)
            logprobs[i] = (float)(logits[i] - sum);
        return new TokenLogprobs((float)(found.Logit - sum), found.Rank, ids[..count].ToArray(), logprobs);
    }
}
