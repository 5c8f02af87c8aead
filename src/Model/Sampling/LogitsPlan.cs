using TpServe.Kernels;

namespace TpServe.Model.Sampling;

/// <summary>Which of a step's rows are drawn on the device and which on the host, and of which rank 0 needs the whole logits.</summary>
/// <remarks>
/// A greedy row needs each rank's best token, a row with top-k ≤ 64 each rank's k best: the k best overall are among them, and top-p and min-p
/// act on those alone. Of a row that top-p alone filters, each rank's best and the mass of its other tokens mostly tell enough. A row that reports logprobs, or whose logits are adjusted first, needs them all.
/// Which device draws a row depends on the row alone: two samplers need not agree on the last bits of a probability.
/// Every rank makes the same plan from the same batch. Reused from step to step.
/// </remarks>
/// <param name="drawsOnDevice">True where the device has a sampler.</param>
/// <param name="sends">True where logits travel between ranks.</param>
public sealed class LogitsPlan(bool drawsOnDevice = false, bool sends = false)
{
    /// <summary>Most rows of a step of which each rank keeps its logits until their nuclei are known; further ones go whole.</summary>
    public const int MostNuclei = 64;

    /// <summary>Most candidates of a rank: the limit of the backends' TopK.</summary>
    public const int MostCandidates = IRowSampler.MostCandidates;

    /// <summary>
    /// Most edits of a row that is drawn on the device: 16 bytes each, for every row of a recorded step. Beyond it, as with penalties over a longer history, its
    /// logits come to the host and its steps are not recorded.
    /// </summary>
    public const int MostEdits = 16384;

    private readonly List<int> _drawn = [];
    private readonly List<int> _candidates = [];
    private readonly List<int> _nuclei = [];
    private readonly List<int> _whole = [];
    private readonly List<int> _known = [];

    /// <summary>Indices into the batch's samples that the device draws.</summary>
    public IReadOnlyList<int> DrawnSamples => _drawn;

    /// <summary>Candidates of each rank for each of them; 0 where any of them needs whole rows, from which all are drawn then.</summary>
    public int DrawnCandidates { get; private set; }

    /// <summary>True where any of them reports logprobs.</summary>
    public bool ReportsDrawn { get; private set; }

    /// <summary>Likeliest tokens that any of them reports.</summary>
    public int DrawnLikeliest { get; private set; }

    /// <summary>Indices into the batch's samples that the host chooses from candidates.</summary>
    public IReadOnlyList<int> CandidateSamples => _candidates;

    /// <summary>Candidates of each rank for each of them: the most any of them needs.</summary>
    public int Candidates { get; private set; }

    /// <summary>Indices into the batch's samples that the host chooses from each rank's best and the mass of all; whole rows follow where that is not enough.</summary>
    public IReadOnlyList<int> NucleusSamples => _nuclei;

    /// <summary>Indices into the batch's samples that the host chooses from whole rows.</summary>
    public IReadOnlyList<int> WholeSamples => _whole;

    /// <summary>Indices into the batch's samples of which only one token can come and nothing is reported: no head is run for them.</summary>
    public IReadOnlyList<int> KnownSamples => _known;

    /// <summary>Sorts the samples into the kinds.</summary>
    public void Make(IReadOnlyList<SampleRow> samples)
    {
        ArgumentNullException.ThrowIfNull(samples);
        _drawn.Clear();
        _candidates.Clear();
        _nuclei.Clear();
        _whole.Clear();
        _known.Clear();
        Candidates = DrawnCandidates = DrawnLikeliest = 0;
        ReportsDrawn = false;
        bool drawsWhole = false;
        for (int i = 0; i < samples.Count; i++)
        {
            int needed = CandidatesOf(samples[i]);
            if (samples[i] is { Only: not null, TopLogprobs: < 0 })
                _known.Add(i);
            else if (drawsOnDevice && IsDrawn(samples[i]))
            {
                _drawn.Add(i);
                drawsWhole |= needed == 0;
                DrawnCandidates = Math.Max(DrawnCandidates, needed);
                ReportsDrawn |= samples[i].TopLogprobs >= 0;
                DrawnLikeliest = Math.Max(DrawnLikeliest, samples[i].TopLogprobs);
            }
            else if (needed == 0 && sends && _nuclei.Count < MostNuclei && IsNucleus(samples[i]))
            {
                _nuclei.Add(i);
            }
            else if (needed == 0)
            {
                _whole.Add(i);
            }
            else
            {
                _candidates.Add(i);
                Candidates = Math.Max(Candidates, needed);
            }
        }
        if (drawsWhole)
            DrawnCandidates = 0;
    }

    private static bool IsDrawn(SampleRow row)
    {
        if (row.IsMasked)
            return false; // as many edits as the vocabulary has tokens
        SamplingSettings settings = row.Settings;
        int edits = settings.LogitBias.Count + settings.AllowedTokenIds.Count + (row.Generated < settings.MinTokens ? settings.EndTokenIds.Count : 0);
        if (settings.RepetitionPenalty != 1f)
            edits += row.Tokens.Length;
        else if (settings.PresencePenalty != 0f || settings.FrequencyPenalty != 0f)
            edits += row.Generated;
        return edits <= MostEdits && row.TopLogprobs <= MostCandidates;
    }

    private static bool IsNucleus(SampleRow row) =>
        row.TopLogprobs < 0 && row.Settings is { IsGreedy: false, TopK: <= 0, TopP: < 1f } && !row.AdjustsLogits;

    private static int CandidatesOf(SampleRow row)
    {
        SamplingSettings settings = row.Settings;
        if (row.TopLogprobs >= 0 || row.AdjustsLogits)
            return 0;
        if (settings.IsGreedy)
            return 1;
        return settings.TopK is > 0 and <= MostCandidates ? settings.TopK : 0;
    }
}
