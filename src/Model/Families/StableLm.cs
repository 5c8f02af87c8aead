namespace TpServe.Model.Families;

/// <summary>StableLM: Llama with layer norms and partial rotary embedding; biases on query, key and value as the config says.</summary>
internal static class StableLm
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["stablelm"],
    };
}
