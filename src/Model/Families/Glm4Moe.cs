namespace TpServe.Model.Families;

/// <summary>GLM 4.5: DeepSeek V3's router over plain attention; blocks behind the last, which guess ahead, are left out as transformers does.</summary>
internal static class Glm4Moe
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["glm4_moe"],
        QueryKeyNorm = QueryKeyNorm.PerHead,
        IgnoresLaterBlocks = true,
        Experts = new ExpertTensors { Shared = "mlp.shared_experts" },
    };
}
