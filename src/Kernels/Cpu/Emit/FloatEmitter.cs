using Iced.Intel;
using TpServe.Kernels.Cpu.Packing;
using static Iced.Intel.AssemblerRegisters;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>Float panels, 32 outputs: two accumulators a row, weights loaded once for all rows, activations broadcast from memory.</summary>
internal sealed class FloatEmitter(PanelFormat format, int rows) : PanelEmitter(rows)
{
    private static readonly AssemblerRegisterZMM[] Weights = [zmm24, zmm25];

    /// <inheritdoc/>
    protected override int Vectors => 2;

    /// <inheritdoc/>
    protected override int RowBytes => format.Codes == CodeLayout.BFloat16 ? 64 : 128;

    /// <inheritdoc/>
    protected override int UnitBytes => format.UnitBytes;

    /// <inheritdoc/>
    protected override int BlocksPerUnit => 1;

    /// <inheritdoc/>
    protected override AssemblerRegisterZMM Sum(int row, int vector) => Zmm((2 * row) + vector);

    /// <inheritdoc/>
    protected override void EmitConstants()
    {
    }

    /// <inheritdoc/>
    protected override void EmitBlock()
    {
        Assembler c = Code;
        bool pairs = format.Codes == CodeLayout.BFloat16;
        for (int k = 0; k < (pairs ? 16 : 32); k++)
        {
            for (int vector = 0; vector < 2; vector++)
            {
                if (format.Codes == CodeLayout.Float16)
                    c.vcvtph2ps(Weights[vector], __ymmword_ptr[rdx + (((k * 2) + vector) * 32)]);
                else
                    c.vmovups(Weights[vector], __zmmword_ptr[rdx + (((k * 2) + vector) * 64)]);
            }
            for (int row = 0; row < Rows; row++)
            {
                for (int vector = 0; vector < 2; vector++)
                {
                    AssemblerMemoryOperand activation = __dword_bcst[rsi + (row * RowBytes) + (k * 4)];
                    if (pairs)
                        c.vdpbf16ps(Sum(row, vector), Weights[vector], activation);
                    else
                        c.vfmadd231ps(Sum(row, vector), Weights[vector], activation);
                }
            }
        }
    }
}
