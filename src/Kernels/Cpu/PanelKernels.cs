using TpServe.Kernels.Cpu.Emit;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>Which kernel computes what on which path.</summary>
internal static class PanelKernels
{
    /// <summary>The kernel of a format and activation layout.</summary>
    public static PanelKernel For(PanelFormat panel, ActivationLayout layout, IsaPath isa) => isa switch
    {
        IsaPath.Avx512Vnni when IsEmitted(panel, layout) => EmittedKernel.Of(panel),
        IsaPath.Avx512Vnni or IsaPath.Avx512 => new BlockKernel<Avx512Math>(panel, layout),
        IsaPath.Avx2 => new BlockKernel<Avx2Math>(panel, layout),
        _ => new BlockKernel<ScalarMath>(panel, layout),
    };

    // Exact activations on quantised or bf16 weights, and bf16 products on a CPU without VDPBF16PS, go through the intrinsics.
    private static bool IsEmitted(PanelFormat panel, ActivationLayout layout) => layout.Kind switch
    {
        ActivationKind.Int8 => true,
        ActivationKind.BFloat16 => Isa.HasBFloat16,
        _ => panel.Codes is CodeLayout.Float32 or CodeLayout.Float16,
    };
}
