namespace TpServe.Model.Families;

/// <summary>gpt-oss: sinks in attention, windows in every other block, biases on all projections, experts in fused tensors.</summary>
internal static class GptOss
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["gpt_oss"],
        Experts = new ExpertTensors
        {
            Router = "mlp.router",
            FusedGateUp = "mlp.experts.gate_up_proj",
            FusedDown = "mlp.experts.down_proj",
            TakesTurns = true,
            IsTransposed = true,
        },
    };
}
