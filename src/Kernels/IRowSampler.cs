using System.Runtime.InteropServices;

namespace TpServe.Kernels;

/// <summary>Draws tokens on the device, so that a step brings ids to the host and no logits. Every operation is only enqueued, as those of the backend are.</summary>
/// <remarks>
/// 1. Entries are ordered by value, larger first, ties to the lower id; a NaN counts as −∞. Where the largest is not finite the row's token is −1.
/// 2. top-k leaves the k first. Weights are e^(v / temperature − largest / temperature); top-p takes, from the last up, every entry with which all that
///    were taken weigh at most (1 − p) of the whole, but never the first; min-p takes what weighs less than that fraction of the first.
/// 3. The token is the entry in which uniform · (what is left) falls, where entries lie side by side: in the order of 1 where top-k is 1..64, by id elsewhere.
/// Shapes   parameters [m, <see cref="DrawParameters.Words"/>] Int32, one <see cref="DrawParameters"/> a row; chosen [m, 1] Int32; all contiguous.
/// Numerics values and temperature in float32; weights are rounded down to multiples of 2^-44 and added as integers, so that no sum has an order. A row's
///          token depends on its values and parameters alone: not on the rows beside it, nor on whether it came whole or as its candidates.
/// Oracle   <see cref="Reference.ReferenceBackend"/>'s sampler: the same tokens but where a weight's last bits decide.
/// </remarks>
public interface IRowSampler
{
    /// <summary>Most tokens of a row's top-k that candidates can serve, and the k of <see cref="ITensorBackend.TopK"/>.</summary>
    const int MostCandidates = 64;

    /// <summary>Most values of a row: the sum of their weights stays below 2^64.</summary>
    const int MostColumns = 1 << 19;

    /// <summary>Draws from candidates of each row, in any order: at least its top-k, which is 1..64.</summary>
    /// <remarks>Shapes   values [m, n] Float32; ids [m, n] Int32, −1 = none.</remarks>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    void Draw(Tensor values, Tensor ids, Tensor parameters, Tensor chosen);

    /// <summary>Draws from whole rows of logits, after edits; the logits stay as they are.</summary>
    /// <remarks>Shapes   logits [m, v] Float32; edits [n, <see cref="LogitEdit.Words"/>] Int32, contiguous, one <see cref="LogitEdit"/> a row.</remarks>
    /// <exception cref="ArgumentException">The shapes disagree, or v is more than <see cref="MostColumns"/>.</exception>
    void DrawWhole(Tensor logits, Tensor edits, Tensor parameters, Tensor chosen);

    /// <summary>What the logprob of a row's choice follows from, for rows that ask for it and have a choice; others are left as they are.</summary>
    /// <remarks>Shapes   logits [m, v] Float32; found [m, <see cref="DrawnLikelihood.Words"/>] Int32, contiguous, one <see cref="DrawnLikelihood"/> a row.</remarks>
    /// <exception cref="ArgumentException">The shapes disagree, or v is more than <see cref="MostColumns"/>.</exception>
    void Likelihoods(Tensor logits, Tensor parameters, Tensor chosen, Tensor found);
}

/// <summary>How one row's token is drawn, as it lies on the device.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
public struct DrawParameters
{
    /// <summary>32-bit words of one.</summary>
    public const int Words = 12;

    /// <summary>Values are divided by it; more than 0.</summary>
    public float Temperature;

    /// <summary>Only so many first entries; 0 = all.</summary>
    public int TopK;

    /// <summary>(1 − top-p) · 2^64, the lower half.</summary>
    public uint DropsLow;

    /// <summary>(1 − top-p) · 2^64, the upper half.</summary>
    public uint DropsHigh;

    /// <summary>Only entries that weigh at least this fraction of the first.</summary>
    public float MinP;

    /// <summary>The random number in [0, 1) · 2^64, the lower half.</summary>
    public uint UniformLow;

    /// <summary>The random number in [0, 1) · 2^64, the upper half.</summary>
    public uint UniformHigh;

    /// <summary>Divides positive and multiplies negative logits of edits that repeat.</summary>
    public float RepetitionPenalty;

    /// <summary>The row's first edit.</summary>
    public int FirstEdit;

    /// <summary>The row's edits.</summary>
    public int Edits;

    /// <summary>1 where ids without an edit are excluded.</summary>
    public int Restricts;

    /// <summary>1 where the row asks for the logprob of its choice.</summary>
    public int Reports;

    /// <summary>A 64-bit number of its halves.</summary>
    public static ulong Join(uint low, uint high) => (ulong)high << 32 | low;

    /// <summary>True where candidates can serve the row.</summary>
    public static bool IsOfCandidates(DrawParameters row) => row.TopK >= 1 && row.TopK <= IRowSampler.MostCandidates;
}

/// <summary>What changes one token's logit in one row before it is drawn. A row has at most one for a token.</summary>
/// <remarks>Numerics repetition first, then − Subtract, then + Add, each rounded to float32.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
public struct LogitEdit
{
    /// <summary>32-bit words of one.</summary>
    public const int Words = 4;

    /// <summary>Bit of <see cref="Kind"/>: the row's repetition penalty applies.</summary>
    public const int Repeats = 1;

    /// <summary>Bit of <see cref="Kind"/>: the token is excluded.</summary>
    public const int Excludes = 2;

    /// <summary>The token, within the row.</summary>
    public int TokenId;

    /// <summary>Bits.</summary>
    public int Kind;

    /// <summary>Presence and frequency penalty together.</summary>
    public float Subtract;

    /// <summary>Logit bias.</summary>
    public float Add;

    /// <summary>A logit of the model as it counts, where the row's repetition penalty is <paramref name="repetition"/>.</summary>
    public readonly float Of(float logit, float repetition)
    {
        if ((Kind & Excludes) != 0)
            return float.NegativeInfinity;
        if ((Kind & Repeats) != 0)
            logit = logit < 0 ? logit * repetition : logit / repetition;
        logit -= Subtract;
        return logit + Add;
    }
}

/// <summary>Where a row's choice stands among its logits.</summary>
/// <remarks>Numerics ln Σ e^v = Largest + ln(Sum · 2^-44), the sum in steps of 2^-44 and without an order.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
public struct DrawnLikelihood
{
    /// <summary>32-bit words of one.</summary>
    public const int Words = 5;

    /// <summary>1 = the first entry of the row.</summary>
    public int Rank;

    /// <summary>The choice's logit, before edits.</summary>
    public float Logit;

    /// <summary>The largest logit of the row.</summary>
    public float Largest;

    /// <summary>Σ e^(v − Largest) · 2^44, the lower half.</summary>
    public uint SumLow;

    /// <summary>Σ e^(v − Largest) · 2^44, the upper half.</summary>
    public uint SumHigh;

    /// <summary>ln Σ e^v over the row.</summary>
    public readonly double LogSum => Largest + Math.Log(((ulong)SumHigh << 32 | SumLow) * (1.0 / (1L << 44)));
}
