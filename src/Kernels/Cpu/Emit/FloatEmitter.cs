using Iced.Intel;
using TpServe.Kernels.Cpu.Packing;
using static Iced.Intel.AssemblerRegisters;
using static TpServe.Kernels.Cpu.Emit.VectorAssembler;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>Products in float32: float panels, and quantised ones under exact activations, whose blocks are decoded to float32 first.</summary>
/// <remarks>
/// Weights are loaded once for all rows, activations broadcast from memory. The wide families keep every sum in a register; the narrow ones take
/// six rows × two vectors at a time, or three × four, through a loop of four inputs: unrolled further it leaves the op cache.
/// bf16 products without VDPBF16PS: a product of two bf16 is exact in float32, so fused multiply-adds of the odd and then of the even input with
/// subnormals flushed are the same arithmetic.
/// Registers wide: 0-15 sums, 24 and 25 weights. Narrow: sums, then two weights (three broadcasts and a weight), 15 the mask of a bf16.
/// </remarks>
internal sealed class FloatEmitter(InstructionFamily family, PanelFormat format, ActivationKind kind, int rows) : PanelEmitter(family, format, rows, 1)
{
    private const int LoopInputs = 4;
    private const int MaskRegister = 15;

    private readonly bool _isDecoded = !format.IsFloat;

    private static VectorConstant UpperHalf => VectorConstant.Dwords(0xFFFF0000);

    /// <inheritdoc/>
    protected override int RowBytes => kind == ActivationKind.BFloat16 ? 64 : 128;

    /// <inheritdoc/>
    protected override int UnitTemporaries => IsWide ? 24 : 0;

    /// <inheritdoc/>
    protected override bool FlushesSubnormals => kind == ActivationKind.RoundedFloat32;

    private bool IsWide => Vector.Family.IsWide;

    private int VectorBytes => Vector.Family.VectorBytes;

    // Bytes of the weights of one input, all outputs; a bf16 panel holds inputs in pairs of twice as much.
    private int InputBytes => _isDecoded ? 64 : Format.UnitBytes / 32;

    // Rows of three and less take all outputs at once, so that a broadcast serves four products.
    private int PassVectors => !_isDecoded && Rows <= 3 ? 4 : 2;

    /// <inheritdoc/>
    protected override int Sum(int row, int part) => (Vectors * row) + part;

    /// <inheritdoc/>
    protected override void ReserveConstants()
    {
        if (_isDecoded)
            Decoder().Reserve(values: true);
        else if (Format.Codes == CodeLayout.BFloat16 && kind != ActivationKind.BFloat16)
            Vector.Reserve(UpperHalf);
    }

    /// <inheritdoc/>
    protected override void PinConstants()
    {
        if (Format.Codes == CodeLayout.BFloat16 && kind != ActivationKind.BFloat16 && (IsWide || PassVectors == 2))
            Vector.Pin(UpperHalf, IsWide ? 31 : MaskRegister);
    }

    /// <inheritdoc/>
    protected override void EmitUnitStart(int temporaries)
    {
        if (Format.Scales == ScaleLayout.SixBit)
            Decoder().SixBitScales(temporaries);
    }

    /// <inheritdoc/>
    protected override void EmitBlock()
    {
        if (_isDecoded)
            Decoder().Values(KernelScratch.Values, UnitTemporaries);
        if (kind == ActivationKind.BFloat16)
            EmitPairs();
        else if (IsWide)
            EmitWide();
        else
            for (int first = 0; first < Vectors; first += PassVectors)
                EmitPass(first);
    }

    private PanelDecoder Decoder() => new(Vector, Format, signed: false, raw: -1);

    private void EmitPairs()
    {
        for (int pair = 0; pair < 16; pair++)
        {
            for (int part = 0; part < 2; part++)
                Vector.Load(24 + part, At(rdx, ((pair * 2) + part) * 64));
            for (int row = 0; row < Rows; row++)
                for (int part = 0; part < 2; part++)
                    Vector.OpBroadcast(VectorOp.DotBFloats, Sum(row, part), 24 + part, rsi, (row * RowBytes) + (pair * 4), -1);
        }
    }

    private void EmitWide()
    {
        AssemblerRegister64 weights = _isDecoded ? r15 : rdx;
        for (int i = 0; i < 32; i++)
        {
            int k = Ordered(i);
            for (int part = 0; part < Vectors; part++)
                EmitWeight(24 + part, weights, _isDecoded ? KernelScratch.Values : 0, k, part);
            for (int row = 0; row < Rows; row++)
                for (int part = 0; part < Vectors; part++)
                    Vector.OpBroadcast(VectorOp.MultiplyAdd231, Sum(row, part), 24 + part, rsi, (row * RowBytes) + (k * 4), -1);
        }
    }

    private void EmitPass(int first)
    {
        Assembler c = Vector.Code;
        Label loop = c.CreateLabel();
        int vectors = PassVectors, free = Rows * vectors;
        ForEachOfPass(first, (register, at) => Vector.Load(register, at));
        c.lea(rax, _isDecoded ? __[r15 + KernelScratch.Values] : __[rdx]);
        c.lea(rbp, __[rsi + RowBytes]);
        c.Label(ref loop);
        for (int i = 0; i < LoopInputs; i++)
        {
            int k = Ordered(i);
            if (vectors == 4)
            {
                for (int row = 0; row < Rows; row++)
                    Vector.Broadcast(free + row, rsi, (row * RowBytes) + (k * 4));
                for (int v = 0; v < vectors; v++)
                {
                    EmitWeight(free + Rows, rax, 0, k, first + v);
                    for (int row = 0; row < Rows; row++)
                        Vector.Op(VectorOp.MultiplyAdd231, (row * vectors) + v, free + Rows, free + row);
                }
                continue;
            }
            for (int v = 0; v < vectors; v++)
                EmitWeight(free + v, rax, 0, k, first + v);
            for (int row = 0; row < Rows; row++)
            {
                Vector.Broadcast(free + vectors, rsi, (row * RowBytes) + (k * 4));
                for (int v = 0; v < vectors; v++)
                    Vector.Op(VectorOp.MultiplyAdd231, (row * vectors) + v, free + v, free + vectors);
            }
        }
        c.add(rax, LoopInputs * InputBytes);
        c.add(rsi, LoopInputs * sizeof(float));
        c.cmp(rsi, rbp);
        c.jne(loop);
        c.sub(rsi, RowBytes);
        ForEachOfPass(first, (register, at) => Vector.Store(at, register));
    }

    private void ForEachOfPass(int first, Action<int, MemoryOperand> emit)
    {
        for (int row = 0; row < Rows; row++)
            for (int v = 0; v < PassVectors; v++)
                emit((row * PassVectors) + v, At(r11, (row * RowSumBytes) + ((first + v) * VectorBytes)));
    }

    // VDPBF16PS takes the odd input of a pair first.
    private int Ordered(int k) => kind == ActivationKind.RoundedFloat32 ? k ^ 1 : k;

    private void EmitWeight(int target, AssemblerRegister64 weights, int offset, int k, int part)
    {
        int at = offset + (k * InputBytes) + (part * VectorBytes);
        switch (Format.Codes)
        {
            case CodeLayout.Float16:
                Vector.Op(VectorOp.HalfToFloat, target, At(weights, offset + (k * InputBytes) + (part * VectorBytes / 2)));
                break;
            case CodeLayout.BFloat16:
                Vector.Load(target, At(weights, offset + ((k & ~1) * InputBytes) + (part * VectorBytes)));
                if ((k & 1) != 0)
                    Vector.Op(VectorOp.And, target, target, UpperHalf);
                else
                    Vector.Shift(VectorOp.LeftDwords, target, target, 16);
                break;
            default:
                Vector.Load(target, At(weights, at));
                break;
        }
    }
}
