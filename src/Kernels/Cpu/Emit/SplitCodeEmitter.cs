using TpServe.Kernels.Cpu.Packing;
using static Iced.Intel.AssemblerRegisters;
using static TpServe.Kernels.Cpu.Emit.VectorAssembler;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>Panels of 8-bit codes where there is no VNNI, for tiles of several rows: a code is taken as two of four bits.</summary>
/// <remarks>
/// code = 16 · high + low. A lane's sum of products is at most 15 · 127 · 2 · 8 = 30,480 over a block, so a step of each half is one VPMADDUBSW and one
/// VPADDW; <see cref="SignDots"/> takes four instructions too, but three of them wait for the same two pipes. The sum is the same integer.
/// The halves of a block are laid out in scratch once for all groups; then a pass takes one vector of outputs.
/// Registers low sums, a row each, then high ones, float sums in the wide families, codes and temporaries, constants from the top.
/// </remarks>
internal sealed class SplitCodeEmitter : PanelEmitter
{
    private const int WideTemporaries = 24;
    private const int HighAt = KernelScratch.Values; // no float kernel runs meanwhile
    private static readonly VectorConstant LowNibbles = VectorConstant.Bytes(0x0F), SixteenWords = VectorConstant.Dwords(0x00100010);
    private readonly PanelDecoder _decoder;

    /// <summary>A kernel of a format whose codes fill a byte.</summary>
    public SplitCodeEmitter(InstructionFamily family, PanelFormat format, int rows, int groups)
        : base(family, format, rows, groups) => _decoder = new PanelDecoder(Vector, format, signed: false, raw: -1);

    /// <inheritdoc/>
    public override CorrectionKind Correction => CorrectionKind.Sum;

    /// <inheritdoc/>
    protected override int RowBytes => 40;

    /// <inheritdoc/>
    protected override int UnitTemporaries => Temporary(0);

    /// <summary>Whether a format's kernel for so many rows is of this kind: below three rows laying out the halves costs more than it saves.</summary>
    public static bool Suits(InstructionFamily family, PanelFormat format, int rows) => !family.HasVnni && format.LargestCode > 63 && format.Halves == 1 && rows >= 3;

    /// <inheritdoc/>
    protected override int Sum(int row, int part) => 16 + row;

    private int Temporary(int index) => (Vector.Family.IsWide ? WideTemporaries : 2 * Rows) + index;

    /// <inheritdoc/>
    protected override void ReserveConstants()
    {
        Vector.Reserve(VectorConstant.OneWords, SixteenWords, LowNibbles);
        _decoder.Reserve(values: false);
    }

    /// <inheritdoc/>
    protected override void PinConstants()
    {
        int top = Vector.Family.IsWide ? 31 : 15;
        Vector.Pin(VectorConstant.OneWords, top);
        Vector.Pin(SixteenWords, top - 1);
        Vector.Pin(LowNibbles, top - 2);
    }

    /// <inheritdoc/>
    protected override void EmitBlock()
    {
        Split();
        ForEachGroup(() =>
        {
            for (int v = 0; v < Vectors; v++)
            {
                EmitDots(v);
                EmitEnd(v);
            }
        });
    }

    private void Split()
    {
        int codes = Temporary(0), high = Temporary(1);
        _decoder.Forget();
        foreach (CodeStep step in Format.Steps)
        {
            for (int v = 0; v < Vectors; v++)
            {
                int at = (64 * step.K4) + (Vector.Family.VectorBytes * v);
                _decoder.Codes(step, v, codes, high);
                Vector.Shift(VectorOp.RightWords, high, codes, 4);
                Vector.Op(VectorOp.And, codes, codes, LowNibbles);
                Vector.Op(VectorOp.And, high, high, LowNibbles);
                Vector.Store(At(r15, KernelScratch.Codes + at), codes);
                Vector.Store(At(r15, HighAt + at), high);
            }
        }
    }

    private void EmitDots(int v)
    {
        int low = Temporary(0), high = Temporary(1), inputs = Temporary(2), product = Temporary(3);
        for (int k4 = 0; k4 < 8; k4++)
        {
            int at = (64 * k4) + (Vector.Family.VectorBytes * v);
            Vector.Load(low, At(r15, KernelScratch.Codes + at));
            Vector.Load(high, At(r15, HighAt + at));
            for (int row = 0; row < Rows; row++)
            {
                Vector.Broadcast(inputs, rsi, (32 * row) + (4 * k4));
                Vector.Op(VectorOp.MultiplyAddBytes, k4 == 0 ? row : product, low, inputs);
                Vector.Op(VectorOp.MultiplyAddBytes, k4 == 0 ? Rows + row : inputs, high, inputs);
                if (k4 == 0)
                    continue;
                Vector.Op(VectorOp.AddWords, row, row, product);
                Vector.Op(VectorOp.AddWords, Rows + row, Rows + row, inputs);
            }
        }
    }

    private void EmitEnd(int v)
    {
        int scale = Temporary(0), factor = Temporary(1);
        _decoder.Scale(BlockScale.Scale0, v, scale, factor);
        for (int row = 0; row < Rows; row++)
        {
            Vector.Op(VectorOp.MultiplyAddWords, row, row, VectorConstant.OneWords);
            Vector.Op(VectorOp.MultiplyAddWords, Rows + row, Rows + row, SixteenWords);
            Vector.Op(VectorOp.AddDwords, row, row, Rows + row);
            Vector.OpBroadcast(VectorOp.AddDwords, row, row, rsi, (36 * Rows) + (4 * row), factor);
            Vector.Op(VectorOp.ToFloat, row, row);
            int target = AddScaled(row, v, row, scale, (32 * Rows) + (4 * row), factor);
            if (!Vector.Family.IsWide)
                Vector.Store(Accumulator(row, v), target);
        }
    }
}
