namespace TpServe.Model.Families;

/// <summary>GPT-NeoX and Pythia: layer norms, a fused projection, partial rotary embedding, a plain MLP beside attention or after it.</summary>
internal static class GptNeox
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["gpt_neox"],
        Tensors = new BlockTensors { FusedQkv = "self_attn.qkv_proj" },
    };
}
