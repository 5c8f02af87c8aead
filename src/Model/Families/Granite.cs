namespace TpServe.Model.Families;

/// <summary>Granite: Llama with factors on embedding, residual stream, scores and logits.</summary>
internal static class Granite
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["granite"],
    };
}
