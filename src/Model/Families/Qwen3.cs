namespace TpServe.Model.Families;

/// <summary>Qwen 3: Llama with each head of queries and keys normalised.</summary>
internal static class Qwen3
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["qwen3"],
        QueryKeyNorm = QueryKeyNorm.PerHead,
    };
}
