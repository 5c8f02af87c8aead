namespace TpServe.Model.Families;

/// <summary>OLMoE: norms before each half-block, queries and keys normalised over all heads, a mixture in every block.</summary>
internal static class Olmoe
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["olmoe"],
        QueryKeyNorm = QueryKeyNorm.AllHeads,
        Experts = new ExpertTensors(),
    };
}
