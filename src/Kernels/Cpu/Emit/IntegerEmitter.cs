using Iced.Intel;
using TpServe.Kernels.Cpu.Packing;
using static Iced.Intel.AssemblerRegisters;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>Quantised panels, 16 outputs: codes decoded in registers, VPDPBUSD with activations broadcast from memory, one scale step a block.</summary>
/// <remarks>
/// Registers zmm0-7 integer sums of each row (first half), zmm8-15 those of the second half where the format has two, zmm16-23 float sums,
///           zmm24 low bits, zmm25 high bits, zmm26 codes, zmm27 temporary, zmm29-31 masks or table.
/// Cost      eight dot products and two to four scale steps a row share the multiply pipes; decoding uses the others.
/// </remarks>
internal sealed class IntegerEmitter(PanelFormat format, int rows) : PanelEmitter(rows)
{
    private static readonly AssemblerRegisterZMM LowBits = zmm24;
    private static readonly AssemblerRegisterZMM HighBits = zmm25;
    private static readonly AssemblerRegisterZMM Codes = zmm26;
    private static readonly AssemblerRegisterZMM Temporary = zmm27;
    private static readonly AssemblerRegisterZMM Table = zmm29;
    private static readonly AssemblerRegisterZMM NibbleOfDword = zmm29;
    private static readonly AssemblerRegisterZMM HighMask = zmm30;
    private static readonly AssemblerRegisterZMM LowMask = zmm31;

    private Label _table;

    /// <inheritdoc/>
    protected override int Vectors => 1;

    /// <inheritdoc/>
    protected override int RowBytes => 36 + (4 * format.Halves);

    /// <inheritdoc/>
    protected override int UnitBytes => format.UnitBytes;

    /// <inheritdoc/>
    protected override int BlocksPerUnit => format.BlocksPerUnit;

    /// <inheritdoc/>
    protected override int HeaderBytes => format.HeaderBytes;

    /// <inheritdoc/>
    protected override int BlockBytes => format.BlockBytes;

    // A unit of one block has its header in front of the codes; in larger ones rbx points behind the header.
    private AssemblerMemoryOperand At(int offset) => format.BlocksPerUnit == 1 ? __[rdx + (format.HeaderBytes + offset)] : __[rbx + offset];

    private int ScaleAt => 32 * Rows;

    private int CorrectionAt(int half) => (36 + (4 * half)) * Rows;

    /// <inheritdoc/>
    protected override AssemblerRegisterZMM Sum(int row, int vector) => Zmm(16 + row);

    private static AssemblerRegisterZMM Integer(int row, int half) => Zmm((8 * half) + row);

    /// <inheritdoc/>
    protected override void EmitConstants()
    {
        if (format.Steps[0].LowMask != 0xFF)
            FillBytes(LowMask, format.Steps[0].LowMask);
        if (format.Steps[0].HighMask != 0)
            FillBytes(HighMask, format.Steps[0].HighMask);
        if (format.Scales == ScaleLayout.Nibbles)
        {
            Code.mov(eax, 15);
            Code.vpbroadcastd(NibbleOfDword, eax);
        }
        if (format.Codes != CodeLayout.NibbleTable)
            return;
        _table = Code.CreateLabel();
        Code.vbroadcasti32x4(Table, __xmmword_ptr[_table]);
    }

    /// <inheritdoc/>
    protected override void EmitData()
    {
        if (format.Codes != CodeLayout.NibbleTable)
            return;
        Code.Label(ref _table);
        foreach (sbyte value in GgmlBlock.NonLinear4)
            Code.db((byte)(value + 128));
    }

    /// <inheritdoc/>
    protected override void EmitUnitStart()
    {
        if (format.Scales != ScaleLayout.SixBit)
            return;
        // Three vectors carry the low 6 bits of 192 numbers; their top bits are the other 64 numbers.
        Assembler c = Code;
        AssemblerRegisterZMM mask = zmm0, offset = zmm1, tops = zmm2, part = zmm3; // integer sums are not in use between blocks
        FillBytes(mask, 0x3F);
        if (!format.HasMinimum)
            FillBytes(offset, 32);
        for (int i = 0; i < 3; i++)
        {
            c.vmovdqu64(LowBits, __zmmword_ptr[rdx + (format.SixBitOffset + (64 * i))]);
            c.vpandd(Codes, LowBits, mask);
            Store(Codes, 64 * i);
            // Bits 6-7 of each byte become bits 2i, 2i + 1: shifting words lets neighbours in, the mask keeps them out.
            c.vpsrlw(LowBits, LowBits, (byte)(6 - (2 * i)));
            FillBytes(part, 3 << (2 * i));
            c.vpandd(LowBits, LowBits, part);
            if (i == 0)
                c.vmovdqa64(tops, LowBits);
            else
                c.vpord(tops, tops, LowBits);
        }
        Store(tops, 192);

        void Store(AssemblerRegisterZMM numbers, int at)
        {
            if (!format.HasMinimum)
                c.vpsubb(numbers, numbers, offset); // scales of the two halves are stored plus 32
            c.vmovdqu64(__zmmword_ptr[r12 + at], numbers);
        }
    }

    /// <inheritdoc/>
    protected override void EmitBlock()
    {
        EmitStart();
        EmitDots();
        EmitScales();
        if (format.Halves == 1)
            EmitOneScale();
        else
            EmitTwoScales();
    }

    // The correction for the codes' offset is where the integer sum starts: float() then sees the exact signed sum.
    private void EmitStart()
    {
        for (int half = 0; half < format.Halves; half++)
        {
            for (int row = 0; row < Rows; row++)
            {
                AssemblerRegisterZMM sum = Integer(row, half);
                if (format.HasMinimum)
                    Code.vpxord(sum, sum, sum);
                else
                    Code.vpbroadcastd(sum, __dword_ptr[rsi + (CorrectionAt(half) + (4 * row))]);
            }
        }
    }

    private void EmitDots()
    {
        Assembler c = Code;
        int low = -1, high = -1;
        foreach (CodeStep step in format.Steps)
        {
            if (step.Low != low)
                c.vmovdqu64(LowBits, At(format.BlockScaleBytes + (64 * step.Low)));
            if (step.High >= 0 && step.High != high)
                c.vmovdqu64(HighBits, At(format.BlockScaleBytes + (64 * step.High)));
            (low, high) = (step.Low, step.High);
            AssemblerRegisterZMM codes = EmitCodes(step);
            for (int row = 0; row < Rows; row++)
                c.vpdpbusd(Integer(row, format.Halves == 2 ? step.K4 >> 2 : 0), codes, __dword_bcst[rsi + ((32 * row) + (4 * step.K4))]);
        }
    }

    private AssemblerRegisterZMM EmitCodes(CodeStep step)
    {
        Assembler c = Code;
        if (step.LowMask == 0xFF)
            return LowBits;
        AssemblerRegisterZMM source = LowBits;
        if (step.LowShift != 0)
        {
            c.vpsrlw(Codes, LowBits, (byte)step.LowShift);
            source = Codes;
        }
        if (step.High < 0)
        {
            c.vpandd(Codes, source, LowMask);
            if (format.Codes == CodeLayout.NibbleTable)
                c.vpshufb(Codes, Table, Codes);
            return Codes;
        }
        AssemblerRegisterZMM bits = HighBits;
        if (step.HighShift != 0)
        {
            bits = Temporary;
            if (step.HighShift > 0)
                c.vpsllw(bits, HighBits, (byte)step.HighShift);
            else
                c.vpsrlw(bits, HighBits, (byte)-step.HighShift);
        }
        c.vpandd(Temporary, bits, HighMask);
        c.vpternlogd(Temporary, source, LowMask, 0xF8); // high | (low & mask)
        return Temporary;
    }

    // Leaves the scales of the halves in zmm24 and zmm25, the minima in zmm26 and zmm27.
    private void EmitScales()
    {
        Assembler c = Code;
        AssemblerRegisterZMM d = zmm28;
        if (format.Scales == ScaleLayout.Block)
        {
            c.vcvtph2ps(zmm24, __ymmword_ptr[rdx]);
            if (format.HasMinimum)
                c.vcvtph2ps(zmm26, __ymmword_ptr[rdx + PanelFormat.MinimumOffset]);
            return;
        }
        c.vcvtph2ps(d, __ymmword_ptr[rdx]);
        if (format.Scales == ScaleLayout.Nibbles)
        {
            for (int half = 0; half < 2; half++)
            {
                c.vpmovzxbd(Zmm(24 + half), __xmmword_ptr[rbx + (16 * half)]);
                c.vpsrld(Zmm(26 + half), Zmm(24 + half), 4);
                c.vpandd(Zmm(24 + half), Zmm(24 + half), NibbleOfDword);
                Scale(Zmm(24 + half), d);
            }
            c.vcvtph2ps(d, __ymmword_ptr[rdx + PanelFormat.MinimumOffset]);
            Scale(zmm26, d);
            Scale(zmm27, d);
            return;
        }
        if (format.HasMinimum)
        {
            c.vpmovzxbd(zmm24, __xmmword_ptr[r12]);
            Scale(zmm24, d);
            c.vcvtph2ps(d, __ymmword_ptr[rdx + PanelFormat.MinimumOffset]);
            c.vpmovzxbd(zmm26, __xmmword_ptr[r12 + 16]);
            Scale(zmm26, d);
            return;
        }
        for (int half = 0; half < 2; half++)
        {
            c.vpmovsxbd(Zmm(24 + half), format.Scales == ScaleLayout.SixBit ? __xmmword_ptr[r12 + (16 * half)] : __xmmword_ptr[rbx + (16 * half)]);
            Scale(Zmm(24 + half), d);
        }

        void Scale(AssemblerRegisterZMM integers, AssemblerRegisterZMM factor)
        {
            c.vcvtdq2ps(integers, integers);
            c.vmulps(integers, integers, factor);
        }
    }

    private void EmitOneScale()
    {
        Assembler c = Code;
        for (int row = 0; row < Rows; row++)
        {
            c.vcvtdq2ps(Integer(row, 0), Integer(row, 0));
            c.vmulps(zmm28, zmm24, __dword_bcst[rsi + (ScaleAt + (4 * row))]);
            c.vfmadd231ps(Sum(row, 0), Integer(row, 0), zmm28);
            if (format.HasMinimum)
                c.vfmadd231ps(Sum(row, 0), zmm26, __dword_bcst[rsi + (CorrectionAt(0) + (4 * row))]);
        }
    }

    private void EmitTwoScales()
    {
        Assembler c = Code;
        for (int row = 0; row < Rows; row++)
        {
            c.vcvtdq2ps(Integer(row, 0), Integer(row, 0));
            c.vcvtdq2ps(Integer(row, 1), Integer(row, 1));
            c.vmulps(Integer(row, 0), Integer(row, 0), zmm24);
            c.vfmadd231ps(Integer(row, 0), Integer(row, 1), zmm25);
            c.vfmadd231ps(Sum(row, 0), Integer(row, 0), __dword_bcst[rsi + (ScaleAt + (4 * row))]);
            if (!format.HasMinimum)
                continue;
            c.vfmadd231ps(Sum(row, 0), zmm26, __dword_bcst[rsi + (CorrectionAt(0) + (4 * row))]);
            c.vfmadd231ps(Sum(row, 0), zmm27, __dword_bcst[rsi + (CorrectionAt(1) + (4 * row))]);
        }
    }

    private void FillBytes(AssemblerRegisterZMM target, int value)
    {
        Code.mov(eax, value * 0x01010101);
        Code.vpbroadcastd(target, eax);
    }
}
