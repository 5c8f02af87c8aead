namespace TpServe.Model.Families;

/// <summary>Gemma 2: norms on both sides of each half-block, soft caps, alternating sliding windows.</summary>
internal static class Gemma2
{
    public static readonly BlockTensors SandwichNorms = new()
    {
        AttentionOutputNorm = "post_attention_layernorm",
        MlpInputNorm = "pre_feedforward_layernorm",
        MlpOutputNorm = "post_feedforward_layernorm",
    };

    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["gemma2"],
        Tensors = SandwichNorms,
    };
}
