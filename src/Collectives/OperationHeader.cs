using System.Runtime.InteropServices;

namespace TpServe.Collectives;

/// <summary>What a rank is doing: travels before every block, so that ranks that disagree find out before any data is used.</summary>
/// <param name="Epoch">Life of the group.</param>
/// <param name="Step">Step of the epoch.</param>
/// <param name="Sequence">Counts the operations of the epoch, from 1.</param>
/// <param name="Fingerprint">Hash of the rest that must agree: element type, who owns what, root.</param>
/// <param name="Operation">Which operation.</param>
/// <param name="Rows">Rows of the whole operand.</param>
/// <param name="Columns">Columns of the whole operand.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct OperationHeader(
    long Epoch, long Step, long Sequence, ulong Fingerprint, CollectiveOperation Operation, int Rows, int Columns)
{
    /// <summary>"SumTree 12 (epoch 1, step 3, 1 x 576)".</summary>
    public override string ToString() => $"{Operation} {Sequence} (epoch {Epoch}, step {Step}, {Rows} x {Columns}, layout {Fingerprint & 0xFFFF:x4})";
}
