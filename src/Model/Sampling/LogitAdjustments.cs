using System.Runtime.InteropServices;

namespace TpServe.Model.Sampling;

/// <summary>What changes logits before temperature and filters: penalties, bias, ids allowed or suppressed.</summary>
/// <remarks>
/// Numerics float32, one operation after the other, as transformers' processors.
/// Source   repetition: Keskar et al. 2019, §4.1, over prompt and output; presence and frequency: the OpenAI API, over the output.
/// </remarks>
internal sealed class LogitAdjustments
{
    private readonly Dictionary<int, int> _counts = [];
    private readonly List<float> _allowed = [];

    /// <summary>Changes the logits of a whole row in place; ids outside the row are ignored.</summary>
    public void Apply(Span<float> logits, SampleRow row)
    {
        SamplingSettings settings = row.Settings;
        ReadOnlySpan<int> tokens = row.Tokens.Span;

        if (settings.RepetitionPenalty != 1f)
        {
            Count(tokens, logits.Length);
            foreach (int token in _counts.Keys)
                logits[token] = logits[token] < 0 ? logits[token] * settings.RepetitionPenalty : logits[token] / settings.RepetitionPenalty;
        }
        if (settings.PresencePenalty != 0f || settings.FrequencyPenalty != 0f)
        {
            Count(tokens[row.PromptTokens..], logits.Length);
            foreach ((int token, int count) in _counts)
                logits[token] -= (float)((double)settings.FrequencyPenalty * count + settings.PresencePenalty);
        }
        foreach ((int token, float bias) in settings.LogitBias)
            if ((uint)token < (uint)logits.Length)
                logits[token] += bias;
        if (settings.AllowedTokenIds.Count > 0)
            KeepOnly(settings.AllowedTokenIds, logits);
        bool onlyEndsAllowed = settings.AllowedTokenIds.Count > 0 && settings.AllowedTokenIds.All(settings.EndTokenIds.Contains);
        if (row.Generated < settings.MinTokens && !onlyEndsAllowed) // suppressing all that is allowed would leave nothing to choose
            foreach (int token in settings.EndTokenIds)
                if ((uint)token < (uint)logits.Length)
                    logits[token] = float.NegativeInfinity;
    }

    private void Count(ReadOnlySpan<int> tokens, int vocab)
    {
        _counts.Clear();
        foreach (int token in tokens)
            if ((uint)token < (uint)vocab)
                CollectionsMarshal.GetValueRefOrAddDefault(_counts, token, out _)++;
    }

    private void KeepOnly(IReadOnlyList<int> allowed, Span<float> logits)
    {
        _allowed.Clear();
        foreach (int token in allowed)
            _allowed.Add((uint)token < (uint)logits.Length ? logits[token] : float.NegativeInfinity);
        logits.Fill(float.NegativeInfinity);
        for (int i = 0; i < allowed.Count; i++)
            if ((uint)allowed[i] < (uint)logits.Length)
                logits[allowed[i]] = _allowed[i];
    }
}
