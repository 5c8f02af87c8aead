using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>Which kernel computes what on which path.</summary>
internal static class PanelKernels
{
    /// <summary>The kernel of a format and activation layout.</summary>
    public static PanelKernel For(PanelFormat panel, ActivationLayout layout, IsaPath isa) => isa switch
    {
        _ => new BlockKernel<ScalarMath>(panel, layout),
    };
}
