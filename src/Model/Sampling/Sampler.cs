namespace TpServe.Model.Sampling;

/// <summary>Chooses tokens and reports logprobs. Runs once, on rank 0, on values that do not depend on the degree.</summary>
/// <remarks>
/// Numerics a choice depends on the row's logits, its settings and history, and (seed, position, output index) alone: never on batch, chunks,
///          wall time, or whether the row came whole or as candidates.
/// Threads  the rank's thread. Allocates only for the logprobs that are asked for.
/// </remarks>
public sealed class Sampler
{
    /// <summary>Instead of a token: the row's largest logit is not a finite number, so there is nothing to choose by.</summary>
    public const int NotFinite = -1;

    /// <summary>Instead of a token: the row's nucleus may hold tokens that nobody has sent, so that it takes the whole row.</summary>
    internal const int Undecided = -2;

    private readonly LogitAdjustments _adjustments = new();
    private readonly TokenDistribution _distribution = new();
    private readonly TopSelection _top = new();
    private ulong[] _candidates = [];
    private float[] _adjusted = [];

    /// <summary>Chooses from a whole row of the model's own logits; <see cref="NotFinite"/> where they are no numbers.</summary>
    public int Choose(ReadOnlySpan<float> logits, SampleRow row)
    {
        if (!float.IsFinite(LogSumExp.Largest(logits)))
            return NotFinite;
        if (row.AdjustsLogits)
            logits = Adjusted(logits, row);
        if (row.Settings.IsGreedy)
            return LogitKey.Id(_top.Of(logits, 1)[0]);
        _distribution.OfRow(logits, row.Settings);
        return Draw(row);
    }

    /// <summary>Chooses from the best of each rank, of a row that needs no more (<see cref="LogitsPlan"/>); <see cref="NotFinite"/> as above.</summary>
    /// <param name="logits">Values in any order.</param>
    /// <param name="ids">Their tokens; −1 = none.</param>
    /// <param name="row">What is asked.</param>
    public int ChooseAmong(ReadOnlySpan<float> logits, ReadOnlySpan<int> ids, SampleRow row)
    {
        if (_candidates.Length < logits.Length)
            _candidates = new ulong[logits.Length];
        int count = 0;
        for (int i = 0; i < logits.Length; i++)
            if (ids[i] >= 0)
                _candidates[count++] = LogitKey.Of(logits[i], ids[i]);
        Span<ulong> sorted = _candidates.AsSpan(0, count);
        sorted.Sort();
        if (count == 0 || !float.IsFinite(LogitKey.Logit(sorted[0])))
            return NotFinite;
        if (row.Settings.IsGreedy)
            return LogitKey.Id(sorted[0]);
        _distribution.OfBest(sorted, row.Settings);
        return Draw(row);
    }

    /// <summary>Chooses from what the ranks sent of a row that top-p alone filters; <see cref="Undecided"/> where that is not enough.</summary>
    internal int ChooseInNucleus(NucleusLayout layout, ReadOnlySpan<float> words, SampleRow row)
    {
        if (_candidates.Length < layout.MostKeys)
            _candidates = new ulong[layout.MostKeys];
        ReadOnlySpan<ulong> known = layout.Known(words, _candidates, out bool isAll);
        if (known.IsEmpty || !float.IsFinite(LogitKey.Logit(known[0])))
            return Undecided; // the whole row tells what is wrong
        double total = layout.Total(words, row.Settings.Temperature);
        return double.IsFinite(total) && _distribution.OfNucleus(known, isAll, total, row.Settings) ? Draw(row) : Undecided;
    }

    /// <summary>Logprobs of one token and of the likeliest ones, from a whole row of the model's own logits.</summary>
    public TokenLogprobs Logprobs(ReadOnlySpan<float> logits, int tokenId, int top)
    {
        double sum = LogSumExp.Of(logits);
        float own = logits[tokenId];
        int rank = 1;
        for (int id = 0; id < logits.Length; id++)
            if (logits[id] > own || logits[id] == own && id < tokenId)
                rank++;
        ReadOnlySpan<ulong> best = _top.Of(logits, top);
        int[] ids = new int[best.Length];
        float[] values = new float[best.Length];
        for (int i = 0; i < best.Length; i++)
        {
            ids[i] = LogitKey.Id(best[i]);
            values[i] = (float)(LogitKey.Logit(best[i]) - sum);
        }
        return new TokenLogprobs((float)(own - sum), rank, ids, values);
    }

    /// <summary>The distribution <see cref="Choose"/> draws from, as probabilities by token id; for greedy rows 1 at the choice.</summary>
    public double[] Probabilities(ReadOnlySpan<float> logits, SampleRow row)
    {
        double[] probabilities = new double[logits.Length];
        if (row.Settings.IsGreedy)
        {
            probabilities[Choose(logits, row)] = 1;
            return probabilities;
        }
        _distribution.OfRow(row.AdjustsLogits ? Adjusted(logits, row) : logits, row.Settings);
        double total = 0;
        foreach (double weight in _distribution.Weights)
            total += weight;
        for (int i = 0; i < _distribution.Count; i++)
            probabilities[_distribution.Ids[i]] = _distribution.Weights[i] / total;
        return probabilities;
    }

    private Span<float> Adjusted(ReadOnlySpan<float> logits, SampleRow row)
    {
        if (_adjusted.Length < logits.Length)
            _adjusted = new float[logits.Length];
        Span<float> adjusted = _adjusted.AsSpan(0, logits.Length);
        logits.CopyTo(adjusted);
        _adjustments.Apply(adjusted, row);
        return adjusted;
    }

    private int Draw(SampleRow row) =>
        _distribution.Draw(Philox.Uniform(row.Settings.Seed, row.Tokens.Length, row.Settings.OutputIndex));
}
