namespace TpServe.Kernels.Cpu;

/// <summary>1..8 rows of activations × one panel of weights.</summary>
/// <remarks>
/// Numerics each output of each row is one sequence of operations over the visited blocks in order, whatever the number of rows:
///          symmetric  acc = fma(float(Σ a·u − bias·Σa), ws · as, acc), a, u the integer codes;
///          minimum    acc = fma(float(Σ a·u), ws · as, acc), then acc = fma(wm, ±as · Σa, acc);
///          halves     t = float(s0) · w0, t = fma(float(s1), w1, t), acc = fma(t, as, acc), then both minima where there are any;
///          float      acc = fma(w, x, acc), k ascending;
///          bf16       acc = fma(w·x of odd k), then of even k; subnormal inputs and results are zero (VDPBF16PS).
///          So all instruction paths agree to the bit.
/// Threads  stateless: any number of threads.
/// </remarks>
internal abstract unsafe class PanelKernel
{
    /// <summary>Most rows of a call.</summary>
    public const int MostRows = 8;

    /// <summary>Computes <paramref name="rows"/> rows.</summary>
    public abstract void Run(int rows, PanelCall* call);
}
