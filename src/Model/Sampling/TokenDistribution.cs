namespace TpServe.Model.Sampling;

/// <summary>The tokens that temperature, top-k, top-p and min-p leave of a row, with their weights; draws from them.</summary>
/// <remarks>
/// Numerics logits and temperature in float32, weights and their sums in float64. Top-k is taken before the division (which changes no order
///          but can make two logits equal); ties go to the lower id everywhere, so exactly k tokens remain.
///          The order of the tokens (by likelihood where top-k or top-p sorts them, else by id) depends on the settings alone: a row gives the
///          same draw whether it came whole, as its k best, or as its nucleus with the mass of the rest.
/// Source   top-p: Holtzman et al. 2020; min-p: Nguyen et al. 2024; the filters' exact edges: transformers' logits processors.
/// Oracle   transformers, the golden set's samplers, |Δ probability| ≤ 2e-7.
/// </remarks>
internal sealed class TokenDistribution
{
    private readonly TopSelection _top = new();
    private int[] _ids = [];
    private double[] _weights = [];
    private ulong[] _keys = [];
    private ChunkMass[] _masses = [];

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
        if (settings.TopP < 1f)
        {
            OfLikely(logits, settings);
            return;
        }
        LogSumExp.Exponentials(logits, settings.Temperature, LogSumExp.Largest(logits) / settings.Temperature, _weights);
        for (int id = 0; id < logits.Length; id++)
            _ids[id] = id;
        Count = logits.Length;
        ApplyMinP(settings.MinP);
    }

    /// <summary>Top-p over everything: sorts only what it can keep.</summary>
    private void OfLikely(ReadOnlySpan<float> logits, SamplingSettings settings)
    {
        int chunks = VocabularyMass.Chunks(logits.Length), kept = 0;
        if (_masses.Length < chunks)
            _masses = new ChunkMass[chunks];
        Span<ChunkMass> masses = _masses.AsSpan(0, chunks);
        for (int chunk = 0; chunk < chunks; chunk++)
            masses[chunk] = VocabularyMass.Of(logits[Of(chunk, logits.Length)], settings.Temperature, _weights.AsSpan(Of(chunk, logits.Length)));
        double largest = VocabularyMass.Largest(masses), total = VocabularyMass.Total(masses);

        // Tokens below (1 − p) / vocab of the total weigh less than 1 − p together, so top-p drops them all: they need no order.
        double least = (1 - (double)settings.TopP) / logits.Length * total * (1 - 1e-9);
        for (int chunk = 0; chunk < chunks; chunk++)
        {
            double leastHere = least / masses[chunk].Share(largest); // a chunk that weighs nothing beside the likeliest has none
            (int first, int count) = Of(chunk, logits.Length).GetOffsetAndLength(logits.Length);
            for (int id = first; id < first + count; id++)
                if (!(_weights[id] < leastHere)) // all, where the mass is no number: then the likeliest alone is left
                    _keys[kept++] = LogitKey.Of(logits[id], id);
        }
        OfNucleus(Sorted(kept), isAll: true, total, settings);

        static Range Of(int chunk, int tokens) => (chunk * VocabularyMass.ChunkTokens)..Math.Min((chunk + 1) * VocabularyMass.ChunkTokens, tokens);
    }

    /// <summary>What top-p leaves of a row of which the likeliest tokens and the mass of all are known: tokens go from the first one before which p of the mass lies.</summary>
    /// <param name="best">Keys in ascending order.</param>
    /// <param name="isAll">Whether no other token can be in the nucleus.</param>
    /// <param name="total">The vocabulary's mass, relative to the likeliest token (<see cref="VocabularyMass.Total"/>).</param>
    /// <param name="settings">Temperature and filters.</param>
    /// <returns>False where the nucleus may hold more tokens than are known; nothing is left then.</returns>
    public bool OfNucleus(ReadOnlySpan<ulong> best, bool isAll, double total, SamplingSettings settings)
    {
        Reserve(best.Length);
        Count = 0;
        double largest = best.IsEmpty ? 0 : LogitKey.Logit(best[0]) / settings.Temperature, above = 0, limit = settings.TopP * total;
        for (int i = 0; i < best.Length && (i == 0 || above < limit); i++)
        {
            _ids[i] = LogitKey.Id(best[i]);
            above += _weights[i] = Math.Exp((double)(LogitKey.Logit(best[i]) / settings.Temperature) - largest);
            Count++;
        }
        if (!isAll && !(above >= limit))
        {
            Count = 0;
            return false;
        }
        ApplyMinP(settings.MinP);
        return true;
    }

    /// <summary>What is left of a row of which only the best are known: keys (<see cref="LogitKey"/>) in ascending order, at least TopK of them.</summary>
    public void OfBest(ReadOnlySpan<ulong> best, SamplingSettings settings)
    {
        Reserve(best.Length);
        OfSorted(best[..Math.Min(settings.TopK, best.Length)], settings);
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

    private void OfSorted(ReadOnlySpan<ulong> best, SamplingSettings settings)
    {
        Count = best.Length;
        double largest = best.IsEmpty ? 0 : LogitKey.Logit(best[0]) / settings.Temperature, total = 0;
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
            double below = 0, limit = (1 - (double)settings.TopP) * total;
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
