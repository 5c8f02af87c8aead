namespace TpServe.Model.Sampling;

/// <summary>The tokens that temperature, top-k, top-p and min-p leave of a row, with their weights; draws from them.</summary>
/// <remarks>
/// Numerics logits and temperature in float32, weights and their sums in float64. Top-k is taken before the division (which changes no order
///          but can make two logits equal); ties go to the lower id everywhere, so exactly k tokens remain.
///          The order of the tokens (by likelihood where top-k or top-p sorts them, else by id) depends on the settings alone: a row gives the
///          same draw whether it came whole or as its k best.
/// Source   top-p: Holtzman et al. 2020; min-p: Nguyen et al. 2024; the filters' exact edges: transformers' logits processors.
/// Oracle   transformers, the golden set's samplers, |Δ probability| ≤ 2e-7.
/// </remarks>
internal sealed class TokenDistribution
{
    private readonly TopSelection _top = new();
    private int[] _ids = [];
    private double[] _weights = [];
    private ulong[] _keys = [];

    /// <summary>Tokens left.</summary>
    public int Count { get; private set; }

    /// <summary>Their ids.</summary>
    public ReadOnlySpan<int> Ids => _ids.AsSpan(0, Count);

    /// <summary>Their weights: probabilities up to a common factor.</summary>
    public ReadOnlySpan<double> Weights => _weights.AsSpan(0, Count);

    /// <summary>What is left of a whole row of adjusted logits.</summary>
    public void OfRow(ReadOnlySpan<float> logits, SamplingSettings settings)
    {
        // A k beyond the vocabulary filters nothing, but a small one may have come as candidates, which are sorted.
        if (settings.TopK > 0 && (settings.TopK < logits.Length || settings.TopK <= LogitsPlan.MostCandidates))
        {
            OfBest(_top.Of(logits, settings.TopK), settings);
            return;
        }
        Reserve(logits.Length);
        float largest = LogSumExp.Largest(logits) / settings.Temperature;
        double total = LogSumExp.Exponentials(logits, settings.Temperature, largest, _weights);
        if (settings.TopP < 1f)
        {
            SortLikely(logits, total, settings.TopP);
            return;
        }
        for (int id = 0; id < logits.Length; id++)
            _ids[id] = id;
        Count = logits.Length;
        ApplyMinP(settings.MinP);

        // Top-p over everything: sort only what it can keep, then go on as for the k best.
        void SortLikely(ReadOnlySpan<float> row, double sum, double topP)
        {
            // Tokens below (1 − p) / vocab of the total weigh less than 1 − p together, so top-p drops them all: they need no order.
            double least = (1 - topP) / row.Length * sum * (1 - 1e-9), dropped = 0;
            int kept = 0;
            for (int id = 0; id < row.Length; id++)
            {
                if (_weights[id] >= least)
                    _keys[kept++] = LogitKey.Of(row[id], id);
                else
                    dropped += _weights[id];
            }
            OfSorted(Sorted(kept), settings, dropped);
        }
    }

    /// <summary>What is left of a row of which only the best are known: keys (<see cref="LogitKey"/>) in ascending order, at least TopK of them.</summary>
    public void OfBest(ReadOnlySpan<ulong> best, SamplingSettings settings)
    {
        Reserve(best.Length);
        OfSorted(best[..Math.Min(settings.TopK, best.Length)], settings, dropped: 0);
    }

    /// <summary>The token at <paramref name="uniform"/> ∈ [0, 1) of the cumulative distribution.</summary>
    public int Draw(double uniform)
    {
        double total = 0, sum = 0;
        for (int i = 0; i < Count; i++)
            total += _weights[i];
        double target = uniform * total;
        int last = -1;
        for (int i = 0; i < Count; i++)
        {
            if (_weights[i] <= 0)
                continue;
            last = i;
            sum += _weights[i];
            if (sum > target)
                return _ids[i];
        }
        return last >= 0 ? _ids[last] : 0; // rounding ate the rest, or every token was excluded
    }

    private ReadOnlySpan<ulong> Sorted(int count)
    {
        _keys.AsSpan(0, count).Sort();
        return _keys.AsSpan(0, count);
    }

    private void OfSorted(ReadOnlySpan<ulong> best, SamplingSettings settings, double dropped)
    {
        Count = best.Length;
        double largest = best.IsEmpty ? 0 : LogitKey.Logit(best[0]) / settings.Temperature, total = dropped;
        for (int i = 0; i < best.Length; i++)
        {
            _ids[i] = LogitKey.Id(best[i]);
            _weights[i] = Math.Exp((double)(LogitKey.Logit(best[i]) / settings.Temperature) - largest);
        }
        for (int i = best.Length - 1; i >= 0; i--)
            total += _weights[i];

        // Top-p: from the least likely up, a token goes while all up to and including it weigh at most 1 − p. The likeliest stays.
        if (settings.TopP < 1f)
        {
            double below = dropped, limit = (1 - (double)settings.TopP) * total;
            while (Count > 1 && below + _weights[Count - 1] <= limit)
                below += _weights[--Count];
        }
        ApplyMinP(settings.MinP);
    }

    private void ApplyMinP(float minP)
    {
        if (minP <= 0f)
            return;
        double largest = 0;
        for (int i = 0; i < Count; i++)
            largest = Math.Max(largest, _weights[i]);
        double least = minP * largest;
        int kept = 0;
        for (int i = 0; i < Count; i++)
            if (_weights[i] >= least)
                (_ids[kept], _weights[kept++]) = (_ids[i], _weights[i]);
        Count = kept;
    }

    private void Reserve(int tokens)
    {
        if (_ids.Length >= tokens)
            return;
        _ids = new int[tokens];
        _weights = new double[tokens];
        _keys = new ulong[tokens];
    }
}
