namespace TpServe.Model.Families;

/// <summary>Gemma 3, text: Gemma 2 without caps, each head of queries and keys normalised, a rotary embedding of its own for sliding layers.</summary>
internal static class Gemma3
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["gemma3"],
        QueryKeyNorm = QueryKeyNorm.PerHead,
        Tensors = Gemma2.SandwichNorms,
    };
}
