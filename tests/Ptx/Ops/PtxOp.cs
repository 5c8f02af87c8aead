using TpServe.Ptx.Machine;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Ops;

/// <summary>One decoded instruction.</summary>
internal abstract class PtxOp
{
    /// <summary>Its place in the program, and its line and text.</summary>
    public int Index { get; set; }

    public Instruction Source { get; set; } = null!;
    public string Function { get; set; } = "";

    /// <summary>The guard's predicate, -1 without one.</summary>
    public int Guard { get; set; } = -1;

    public bool GuardNegated { get; set; }

    /// <summary>Executes the lanes of mask, never none.</summary>
    public abstract void Execute(Warp warp, uint mask);

    public override string ToString() => $"line {Source.Line}: {Source.Text}";
}
