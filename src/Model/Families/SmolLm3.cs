namespace TpServe.Model.Families;

/// <summary>SmolLM 3: Llama with some layers that do not rotate.</summary>
internal static class SmolLm3
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["smollm3"],
    };
}
