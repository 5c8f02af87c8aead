namespace TpServe.Model.Families;

/// <summary>DeepSeek V2 and V3: latent attention, a dense MLP in the first blocks, then mixtures beside an MLP that all rows go through.</summary>
internal static class DeepSeek
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["deepseek_v2", "deepseek_v3"],
        Experts = new ExpertTensors { Shared = "mlp.shared_experts" },
    };
}
