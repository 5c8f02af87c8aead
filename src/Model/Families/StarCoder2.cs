namespace TpServe.Model.Families;

/// <summary>StarCoder 2: grouped heads, layer norms and a plain MLP, biases everywhere.</summary>
internal static class StarCoder2
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["starcoder2"],
        Tensors = new BlockTensors { Up = "mlp.c_fc", Down = "mlp.c_proj" },
    };
}
