namespace TpServe.Model.Families;

/// <summary>Names of a mixture's modules below "model.layers.N."; null = the family has none.</summary>
/// <remarks>
/// Experts lie as files have them: one matrix each, EXPERTS.E.GATE.weight; or all of a projection in one tensor [experts, out, in], EXPERTS.GATE.weight, as GGUF
/// files do; or gate and up of all in one, FUSED. Which it is, the file's first mixture says.
/// </remarks>
public sealed record ExpertTensors
{
    /// <summary>The router; NAME.weight, NAME.bias where the config says so.</summary>
    public string Router { get; init; } = "mlp.gate";

    /// <summary>What the correction of the choice is called, as a whole.</summary>
    public string Correction { get; init; } = "mlp.gate.e_score_correction_bias";

    /// <summary>The module of the experts.</summary>
    public string Experts { get; init; } = "mlp.experts";

    /// <summary>Gate projection of an expert.</summary>
    public string Gate { get; init; } = "gate_proj";

    /// <summary>Up projection of an expert.</summary>
    public string Up { get; init; } = "up_proj";

    /// <summary>Down projection of an expert.</summary>
    public string Down { get; init; } = "down_proj";

    /// <summary>The tensor of all experts' gate and up projections, as a whole.</summary>
    public string? FusedGateUp { get; init; }

    /// <summary>The tensor of all experts' down projections beside it.</summary>
    public string? FusedDown { get; init; }

    /// <summary>True where rows of gate and up take turns in the fused tensor; else up's are below gate's.</summary>
    public bool TakesTurns { get; init; }

    /// <summary>True where fused tensors of floats hold each matrix transposed, [experts, in, out]; those of blocks never do.</summary>
    public bool IsTransposed { get; init; }

    /// <summary>The MLP that all rows go through.</summary>
    public string Shared { get; init; } = "mlp.shared_expert";

    /// <summary>Its gate and up projections in one matrix.</summary>
    public string? SharedFused { get; init; }

    /// <summary>Its down projection beside that.</summary>
    public string? SharedFusedDown { get; init; }

    /// <summary>What its output's gate is a product with.</summary>
    public string SharedGate { get; init; } = "mlp.shared_expert_gate";
}
