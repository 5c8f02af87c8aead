namespace TpServe.Model.Families;

/// <summary>OLMo 2: norms after each half-block, queries and keys normalised over all heads.</summary>
internal static class Olmo2
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["olmo2"],
        QueryKeyNorm = QueryKeyNorm.AllHeads,
        Tensors = new BlockTensors
        {
            AttentionInputNorm = null,
            AttentionOutputNorm = "post_attention_layernorm",
            MlpInputNorm = null,
            MlpOutputNorm = "post_feedforward_layernorm",
        },
    };
}
