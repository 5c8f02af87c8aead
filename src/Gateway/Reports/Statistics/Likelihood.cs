namespace TpServe.Gateway.Reports.Statistics;

/// <summary>Logprobs of a position: of the token that stands there and of the likeliest ones.</summary>
/// <param name="Token">The token that stands there.</param>
/// <param name="Logprob">Its natural logarithm of probability.</param>
/// <param name="Top">The likeliest, likeliest first.</param>
internal sealed record PositionLogprobs(int Token, float Logprob, IReadOnlyList<(int Token, float Logprob)> Top)
{
    /// <summary>Every token whose logprob is known.</summary>
    public Dictionary<int, double> Known()
    {
        Dictionary<int, double> known = new() { [Token] = Logprob };
        foreach ((int token, float logprob) in Top)
            known[token] = logprob;
        return known;
    }
}

/// <summary>What logprobs say of a model.</summary>
internal static class Likelihood
{
    // Logprobs are float32: a rest of less than this is their rounding.
    private const double LeastRest = 1e-6;

    /// <summary>exp(−mean of the logprobs).</summary>
    public static double Perplexity(IReadOnlyCollection<float> logprobs) => Math.Exp(-logprobs.Average(value => (double)value));

    /// <summary>Σ p·ln(p/q) over the tokens that both know, and the same of what is left to all others together.</summary>
    /// <remarks>Joining tokens to one bucket never raises a divergence (the data processing inequality), so this is at most KL(p || q) over the whole vocabulary.</remarks>
    /// <param name="reference">p.</param>
    /// <param name="served">q.</param>
    public static double LeastKl(PositionLogprobs reference, PositionLogprobs served)
    {
        Dictionary<int, double> p = reference.Known(), q = served.Known();
        double kl = 0, restP = 1, restQ = 1;
        foreach ((int token, double logP) in p)
        {
            if (!q.TryGetValue(token, out double logQ))
                continue;
            kl += Math.Exp(logP) * (logP - logQ);
            restP -= Math.Exp(logP);
            restQ -= Math.Exp(logQ);
        }
        restP = Math.Max(restP, LeastRest);
        restQ = Math.Max(restQ, LeastRest);
        return Math.Max(0, kl + (restP * Math.Log(restP / restQ)));
    }

    /// <summary>Share of positions with the same likeliest token.</summary>
    public static double SameLikeliest(IReadOnlyList<PositionLogprobs> one, IReadOnlyList<PositionLogprobs> other) =>
        one.Zip(other).Count(pair => pair.First.Top[0].Token == pair.Second.Top[0].Token) / (double)one.Count;
}
