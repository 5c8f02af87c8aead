using TpServe.Protos.Worker;

namespace TpServe.Gateway.Scheduling;

/// <summary>One output on its way: its token log, how far it is planned and computed, and the blocks it owns.</summary>
/// <remarks>
/// Planned counts run ahead of computed ones by the steps in flight: planning reads only the planned side, so that a step can be planned
/// before the one before it has answered. The token log is complete at any time: replaying it elsewhere gives the same continuation.
/// </remarks>
public sealed class Sequence
{
    private readonly List<int> _generated = [];

    public Sequence(SequenceId id, SequenceSpec spec)
    {
        ArgumentOutOfRangeException.ThrowIfZero(spec.Prompt.Count);
        ArgumentOutOfRangeException.ThrowIfNegative(spec.MaxNewTokens);
        Id = id;
        Spec = spec;
    }

    /// <summary>Its name towards the workers.</summary>
    public SequenceId Id { get; }

    /// <summary>What was asked for.</summary>
    public SequenceSpec Spec { get; }

    /// <summary>Where it is.</summary>
    public SequenceState State { get; internal set; }

    /// <summary>Tokens generated so far, in order.</summary>
    public IReadOnlyList<int> Generated => _generated;

    /// <summary>Length of the prompt.</summary>
    public int PromptTokens => Spec.Prompt.Count;

    /// <summary>Tokens whose keys and values it can ever need: the last generated token is never computed.</summary>
    public int MaxComputedTokens => PromptTokens + Math.Max(Spec.MaxNewTokens, 1) - 1;

    /// <summary>The blocks it owns, in order of its tokens.</summary>
    public ReadOnlyMemory<BlockId> Blocks { get; internal set; }

    /// <summary>Tokens that steps sent so far compute.</summary>
    internal int PlannedTokens { get; set; }

    /// <summary>Tokens that steps sent so far sample.</summary>
    internal int PlannedSamples { get; set; }

    /// <summary>Tokens computed by steps that have answered.</summary>
    internal int ComputedTokens { get; set; }

    /// <summary>KV blocks needed to hold <see cref="MaxComputedTokens"/>.</summary>
    public int BlocksNeeded(int blockTokens) => (MaxComputedTokens + blockTokens - 1) / blockTokens;

    internal void Append(int token) => _generated.Add(token);

    /// <summary>The sequence whole, for workers that have not seen it.</summary>
    internal NewSequence Announce()
    {
        SamplingParameters sampling = Spec.Sampling.Clone();
        sampling.PromptTokens = PromptTokens;
        NewSequence announced = new()
        {
            SequenceId = Id.Value,
            Sampling = sampling,
            TopLogprobs = Spec.TopLogprobs,
            PromptLogprobs = Spec.PromptLogprobs,
        };
        announced.TokenIds.AddRange(Spec.Prompt);
        announced.TokenIds.AddRange(_generated);
        return announced;
    }
}
