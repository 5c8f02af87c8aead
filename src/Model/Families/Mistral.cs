namespace TpServe.Model.Families;

/// <summary>Mistral: Llama with a sliding window.</summary>
internal static class Mistral
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["mistral"],
    };
}
