using System.Numerics;
using TpServe.Kernels;
using TpServe.Model.Sampling;

namespace TpServe.Model;

/// <summary>Which steps a device may record and replay, and to which sizes they are padded.</summary>
/// <remarks>
/// A decode step (one row of each sequence, each drawn on the device) does the same operations every time, only on other integers. Padded to few
/// sizes of rows and block tables, a handful of recordings serves a whole run. Rows are independent, so padding changes no bit.
/// </remarks>
internal static class DecodeRecording
{
    /// <summary>Most rows of a recorded step: bounds the logits held at once.</summary>
    public const int MostRows = 64;

    /// <summary>True for a step that only decodes, all of whose rows are drawn on the device.</summary>
    public static bool Fits(StepBatch batch, LogitsPlan plan)
    {
        if (batch.Rows > MostRows || batch.Rows != batch.Sequences || plan.DrawnSamples.Count != batch.Rows || batch.Samples.Count != batch.Rows || batch.PromptLogprobs.Count > 0)
            return false;
        for (int row = 0; row < batch.Rows; row++)
            if (batch.Samples[row].Row != row)
                return false;
        return true;
    }

    /// <summary>The sizes a step is padded to: rows 1, 2, 4, 8, then multiples of 8; block tables powers of two from 8 on; candidates 1, 8, 64; likeliest tokens 0, 64.</summary>
    public static RecordingKey Key(StepBatch batch, LogitsPlan plan) => new(
        batch.Rows <= 8 ? (int)BitOperations.RoundUpToPowerOf2((uint)batch.Rows) : (batch.Rows + 7) / 8 * 8,
        Math.Max(8, (int)BitOperations.RoundUpToPowerOf2((uint)batch.MostBlocks)),
        plan.DrawnCandidates switch { 0 => 0, 1 => 1, <= 8 => 8, _ => LogitsPlan.MostCandidates },
        plan.DrawnLikeliest > 0 ? LogitsPlan.MostCandidates : 0);
}
