namespace TpServe.Model.Families;

/// <summary>Granite with experts, and with an MLP beside them where the config has one.</summary>
internal static class GraniteMoe
{
    public static readonly FamilySpec Spec = new()
    {
        Architectures = ["granitemoe"],
        Experts = new ExpertTensors
        {
            Router = "block_sparse_moe.router.layer",
            FusedGateUp = "block_sparse_moe.input_linear.weight",
            FusedDown = "block_sparse_moe.output_linear.weight",
            Shared = "shared_mlp",
            SharedFused = "shared_mlp.input_linear.weight",
            SharedFusedDown = "shared_mlp.output_linear.weight",
        },
    };
}
