namespace TpServe.Model.Families;

/// <summary>Qwen 2 and 3 with experts: the dense families, whose blocks have a mixture where the config says so; Qwen 2's has a gated MLP beside it.</summary>
internal static class QwenMoe
{
    public static readonly FamilySpec Qwen2Spec = new()
    {
        Architectures = ["qwen2_moe"],
        AlwaysQkvBias = true,
        Experts = new ExpertTensors(),
    };

    public static readonly FamilySpec Qwen3Spec = new()
    {
        Architectures = ["qwen3_moe"],
        QueryKeyNorm = QueryKeyNorm.PerHead,
        Experts = new ExpertTensors(),
    };
}
