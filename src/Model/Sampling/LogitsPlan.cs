namespace TpServe.Model.Sampling;

/// <summary>Which of a step's rows need their whole logits on rank 0, and for which the best few of each rank do.</summary>
/// <remarks>
/// A greedy row needs each rank's best token, a row with top-k ≤ 64 each rank's k best: the k best overall are among them, and top-p and min-p
/// act on those alone. A row that reports logprobs, or whose logits are adjusted first, needs them all.
/// Every rank makes the same plan from the same batch. Reused from step to step.
/// </remarks>
public sealed class LogitsPlan
{
    /// <summary>Most candidates of a rank: the limit of the backends' TopK.</summary>
    public const int MostCandidates = 64;

    private readonly List<int> _candidates = [];
    private readonly List<int> _whole = [];

    /// <summary>Indices into the batch's samples that need candidates only.</summary>
    public IReadOnlyList<int> CandidateSamples => _candidates;

    /// <summary>Candidates of each rank for each of them: the most any of them needs.</summary>
    public int Candidates { get; private set; }

    /// <summary>Indices into the batch's samples that need whole rows.</summary>
    public IReadOnlyList<int> WholeSamples => _whole;

    /// <summary>Sorts the samples into the two kinds.</summary>
    public void Make(IReadOnlyList<SampleRow> samples)
    {
        ArgumentNullException.ThrowIfNull(samples);
        _candidates.Clear();
        _whole.Clear();
        Candidates = 0;
        for (int i = 0; i < samples.Count; i++)
        {
            int needed = CandidatesOf(samples[i]);
            if (needed == 0)
            {
                _whole.Add(i);
                continue;
            }
            _candidates.Add(i);
            Candidates = Math.Max(Candidates, needed);
        }
    }

    private static int CandidatesOf(SampleRow row)
    {
        SamplingSettings settings = row.Settings;
        if (row.TopLogprobs >= 0 || settings.AdjustsLogits(row.Generated))
            return 0;
        if (settings.IsGreedy)
            return 1;
        return settings.TopK is > 0 and <= MostCandidates ? settings.TopK : 0;
    }
}
