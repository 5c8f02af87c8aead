namespace TpServe.Model.Families;

/// <summary>Llama 2 and 3 and what shares their block: pre-norm, grouped heads, SwiGLU; biases as the config says.</summary>
internal static class Llama
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["llama"],
    };
}
