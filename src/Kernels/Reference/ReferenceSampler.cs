using System.Runtime.InteropServices;

namespace TpServe.Kernels.Reference;

/// <summary>Sampling as the contract states it: one sorted list a row.</summary>
internal sealed class ReferenceSampler : IRowSampler
{
    /// <summary>2^44: what a weight of 1 is as an integer.</summary>
    private const double One = 1L << 44;

    /// <inheritdoc/>
    public void Draw(Tensor values, Tensor ids, Tensor parameters, Tensor chosen)
    {
        SamplerShapes.OfCandidates(values, ids, parameters, chosen);
        for (int row = 0; row < chosen.Rows; row++)
        {
            DrawParameters own = Parameters(parameters, row);
            Require.That(DrawParameters.IsOfCandidates(own), $"A top-k of {own.TopK} is not within 1..{IRowSampler.MostCandidates}: candidates cannot serve row {row}.");
            List<Entry> entries = [];
            for (int i = 0; i < values.Columns; i++)
                if (ids.HostSpan<int>(row)[i] is int id and >= 0)
                    entries.Add(new Entry(id, values.HostSpan<float>(row)[i]));
            chosen.HostSpan<int>(row)[0] = Token(entries, own);
        }
    }

    /// <inheritdoc/>
    public void DrawWhole(Tensor logits, Tensor edits, Tensor parameters, Tensor chosen)
    {
        SamplerShapes.OfWhole(logits, edits, parameters, chosen);
        for (int row = 0; row < chosen.Rows; row++)
        {
            DrawParameters own = Parameters(parameters, row);
            ReadOnlySpan<float> given = logits.HostSpan<float>(row);
            float[] adjusted = new float[given.Length];
            if (own.Restricts != 0)
                Array.Fill(adjusted, float.NegativeInfinity);
            else
                given.CopyTo(adjusted);
            for (int i = own.FirstEdit; i < own.FirstEdit + own.Edits; i++)
            {
                LogitEdit edit = MemoryMarshal.Cast<int, LogitEdit>(edits.HostSpan<int>(i))[0];
                adjusted[edit.TokenId] = edit.Of(given[edit.TokenId], own.RepetitionPenalty);
            }
            chosen.HostSpan<int>(row)[0] = Token([.. adjusted.Select((value, id) => new Entry(id, value))], own);
        }
    }

    /// <inheritdoc/>
    public void Likelihoods(Tensor logits, Tensor parameters, Tensor chosen, Tensor found)
    {
        SamplerShapes.OfLikelihoods(logits, parameters, chosen, found);
        for (int row = 0; row < chosen.Rows; row++)
        {
            int token = chosen.HostSpan<int>(row)[0];
            if (Parameters(parameters, row).Reports == 0 || token < 0)
                continue;
            Entry[] entries = [.. logits.HostSpan<float>(row).ToArray().Select((value, id) => new Entry(id, value)).OrderByDescending(entry => entry.Ordered)];
            ulong sum = entries.Aggregate(0UL, (total, entry) => total + Weight(entry.Ordered, 1f, entries[0].Ordered));
            MemoryMarshal.Cast<int, DrawnLikelihood>(found.HostSpan<int>(row))[0] = new DrawnLikelihood
            {
                Rank = 1 + Array.FindIndex(entries, entry => entry.Id == token),
                Logit = logits.HostSpan<float>(row)[token],
                Largest = entries[0].Ordered,
                SumLow = (uint)sum,
                SumHigh = (uint)(sum >> 32),
            };
        }
    }

    private static int Token(List<Entry> entries, DrawParameters row)
    {
        // 1. The order; OrderBy is stable, so ids break ties.
        (Entry Entry, ulong Weight)[] left = [.. entries.OrderBy(entry => entry.Id).OrderByDescending(entry => entry.Ordered).Select(entry => (entry, 0UL))];
        if (left.Length == 0 || !float.IsFinite(left[0].Entry.Value))
            return -1;
        int likeliest = left[0].Entry.Id;
        float largest = left[0].Entry.Value / row.Temperature;
        for (int i = 0; i < left.Length; i++)
            left[i].Weight = Weight(left[i].Entry.Ordered, row.Temperature, largest);

        // 2. The filters.
        if (row.TopK > 0)
            left = [.. left.Take(row.TopK)];
        ulong whole = Sum(left), dropped = 0, limit = Math.BigMul(DrawParameters.Join(row.DropsLow, row.DropsHigh), whole, out _);
        int kept = left.Length;
        while (kept > 1 && dropped + left[kept - 1].Weight <= limit)
            dropped += left[--kept].Weight;
        ulong least = (ulong)(row.MinP * One);
        left = [.. left.Take(kept).Where(entry => entry.Weight >= least)];

        // 3. The draw.
        if (!DrawParameters.IsOfCandidates(row))
            Array.Sort(left, (a, b) => a.Entry.Id.CompareTo(b.Entry.Id));
        ulong target = Math.BigMul(DrawParameters.Join(row.UniformLow, row.UniformHigh), Sum(left), out _), sum = 0;
        foreach ((Entry entry, ulong weight) in left)
        {
            sum += weight;
            if (sum > target)
                return entry.Id;
        }
        return likeliest; // nothing weighs anything
    }

    private static ulong Sum(IEnumerable<(Entry Entry, ulong Weight)> entries) => entries.Aggregate(0UL, (total, entry) => total + entry.Weight);

    private static ulong Weight(float value, float temperature, float largest)
    {
        double weight = Math.Exp((double)(value / temperature - largest));
        return weight > 0 ? (ulong)(weight * One) : 0;
    }

    private static DrawParameters Parameters(Tensor parameters, int row) => MemoryMarshal.Cast<int, DrawParameters>(parameters.HostSpan<int>(row))[0];

    private readonly record struct Entry(int Id, float Value)
    {
        /// <summary>The value as it is ordered: no NaN, one zero.</summary>
        public float Ordered => float.IsNaN(Value) ? float.NegativeInfinity : Value + 0f;
    }
}
