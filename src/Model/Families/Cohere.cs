namespace TpServe.Model.Families;

/// <summary>Command R and R7B: one layer norm for attention and the MLP beside it; R7B slides in most layers and rotates in these alone.</summary>
internal static class Cohere
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["cohere", "cohere2"],
        Tensors = new BlockTensors { MlpInputNorm = null },
    };
}
