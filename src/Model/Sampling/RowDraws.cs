using System.Runtime.InteropServices;
using TpServe.Kernels;

namespace TpServe.Model.Sampling;

/// <summary>How the device draws a step's rows, as words of the upload: parameters of each row, then all edits.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
internal sealed class RowDraws(int vocab)
{
    private static readonly DrawParameters Likeliest = new() { Temperature = 1f, TopK = 1, RepetitionPenalty = 1f };

    private readonly List<DrawParameters> _parameters = [];
    private readonly List<LogitEdit> _edits = [];
    private readonly LogitAdjustments _adjustments = new();

    /// <summary>Parameters of the rows, <see cref="DrawParameters.Words"/> each.</summary>
    public ReadOnlySpan<int> Parameters => MemoryMarshal.Cast<DrawParameters, int>(CollectionsMarshal.AsSpan(_parameters));

    /// <summary>Edits of the rows, <see cref="LogitEdit.Words"/> each.</summary>
    public ReadOnlySpan<int> Edits => MemoryMarshal.Cast<LogitEdit, int>(CollectionsMarshal.AsSpan(_edits));

    /// <summary>Takes the samples that the plan has the device draw; rows behind them, up to <paramref name="rows"/>, are greedy.</summary>
    public void Make(IReadOnlyList<SampleRow> samples, LogitsPlan plan, int rows)
    {
        _parameters.Clear();
        _edits.Clear();
        foreach (int sample in plan.DrawnSamples)
            Add(samples[sample]);
        while (_parameters.Count < rows)
            _parameters.Add(Likeliest);
    }

    private void Add(SampleRow row)
    {
        SamplingSettings settings = row.Settings;
        DrawParameters own = Likeliest;
        if (!settings.IsGreedy)
        {
            ulong drops = settings.TopP <= 0f ? ulong.MaxValue : settings.TopP >= 1f ? 0 : (ulong)((1 - (double)settings.TopP) * Math.Pow(2, 64));
            ulong uniform = Philox.Fraction(settings.Seed, row.Tokens.Length, settings.OutputIndex);
            own = own with
            {
                Temperature = settings.Temperature,
                TopK = settings.TopK,
                DropsLow = (uint)drops,
                DropsHigh = (uint)(drops >> 32),
                MinP = settings.MinP,
                UniformLow = (uint)uniform,
                UniformHigh = (uint)(uniform >> 32),
            };
        }
        own.FirstEdit = _edits.Count;
        if (row.AdjustsLogits)
        {
            _edits.AddRange(_adjustments.Of(row, vocab));
            own.RepetitionPenalty = settings.RepetitionPenalty;
            own.Restricts = LogitAdjustments.Restricts(row) ? 1 : 0;
        }
        own.Edits = _edits.Count - own.FirstEdit;
        own.Reports = row.TopLogprobs >= 0 ? 1 : 0;
        _parameters.Add(own);
    }
}
