namespace TpServe.Model.Families;

/// <summary>Phi 3 and 4: Llama with fused projections.</summary>
internal static class Phi3
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["phi3"],
        Tensors = new BlockTensors { FusedQkv = "self_attn.qkv_proj", FusedGateUp = "mlp.gate_up_proj" },
    };
}
