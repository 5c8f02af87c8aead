namespace TpServe.Model.Families;

/// <summary>Mixtral: Llama with a mixture of experts in every block.</summary>
internal static class Mixtral
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["mixtral"],
        Experts = new ExpertTensors { Router = "block_sparse_moe.gate", Experts = "block_sparse_moe.experts", Gate = "w1", Up = "w3", Down = "w2" },
    };
}
