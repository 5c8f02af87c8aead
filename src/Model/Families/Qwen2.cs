namespace TpServe.Model.Families;

/// <summary>Qwen 2 and 2.5: Llama with biases on query, key and value.</summary>
internal static class Qwen2
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["qwen2"],
        AlwaysQkvBias = true,
    };
}
