using Iced.Intel;
using TpServe.Kernels.Cpu.Packing;
using static Iced.Intel.AssemblerRegisters;
using static TpServe.Kernels.Cpu.Emit.VectorAssembler;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>Emits what turns the bytes of a quantised panel into codes and scales, the same in every family.</summary>
/// <remarks>
/// Registers as <see cref="PanelEmitter"/>: rdx the unit, rbx the block inside it, r12 the block's decoded six-bit scales, r15 scratch.
///           Vector registers are the caller's: targets and temporaries are parameters.
/// </remarks>
/// <param name="vector">The code being written.</param>
/// <param name="format">The panel.</param>
/// <param name="signed">Codes come out as signed bytes: the value of 8-bit formats instead of the value + 128.</param>
/// <param name="raw">Two registers that keep the vectors last loaded, or −1: none.</param>
internal sealed class PanelDecoder(VectorAssembler vector, PanelFormat format, bool signed, int raw)
{
    private int _rawLow = -1;
    private int _rawHigh = -1;

    private int VectorBytes => vector.Family.VectorBytes;

    private VectorConstant LowMask => VectorConstant.Bytes(format.Steps[0].LowMask);

    private VectorConstant HighMask => VectorConstant.Bytes(format.Steps[0].HighMask);

    private VectorConstant Table => VectorConstant.Table([.. format.Table.Select(value => (byte)(signed ? value : value + format.Bias))]);

    private static VectorConstant NibbleOfDword => VectorConstant.Dwords(15);

    private static VectorConstant ByteOfDword => VectorConstant.Dwords(255);

    private static VectorConstant SmallestExponent => VectorConstant.Dwords(0x00400000);

    private static VectorConstant Float8Bits => VectorConstant.Dwords(0x87F00000);

    private static VectorConstant OfFloat8 => VectorConstant.Single(1.329227995784916e36f); // 2^120: the exponent of an E4M3 where binary32 has its own is so much too low

    private static VectorConstant HalfOfFloat8 => VectorConstant.Single(6.64613997892458e35f); // 2^119

    private static VectorConstant Half => VectorConstant.Single(0.5f);

    private VectorConstant Factor => VectorConstant.Single(format.Factor);

    /// <summary>Constants worth a register, most wanted first.</summary>
    public IEnumerable<VectorConstant> Pins
    {
        get
        {
            if (format.Codes == CodeLayout.NibbleTable)
                yield return Table;
            if (format.Steps[0].LowMask != 0xFF)
                yield return LowMask;
            else if (signed)
                yield return VectorConstant.Bytes(0x80);
            if (format.Steps[0].HighMask != 0)
                yield return HighMask;
            if (format.Scales == ScaleLayout.Nibbles)
                yield return NibbleOfDword;
        }
    }

    /// <summary>The factors of a block that differ.</summary>
    public IEnumerable<BlockScale> BlockScales => Enum.GetValues<BlockScale>().Where(which =>
        (format.HasMinimum || which < BlockScale.Minimum0) && (format.Halves == 2 || which is BlockScale.Scale0 or BlockScale.Minimum0));

    /// <summary>Reserves all constants that the other methods use.</summary>
    public void Reserve(bool values)
    {
        vector.Reserve([.. Pins]);
        if (format.Scales == ScaleLayout.SixBit)
            vector.Reserve(VectorConstant.Bytes(0x3F), VectorConstant.Bytes(0x03), VectorConstant.Bytes(0x0C), VectorConstant.Bytes(0x30), VectorConstant.Bytes(32));
        if (format.Scales == ScaleLayout.Exponent)
            vector.Reserve(SmallestExponent, Half);
        if (format.Scales == ScaleLayout.Float8)
            vector.Reserve(HalfOfFloat8);
        if (format.Factor != 1f)
            vector.Reserve(Factor);
        if (values && format.Codes == CodeLayout.Float8)
            vector.Reserve(Float8Bits, OfFloat8);
        else if (values)
            vector.Reserve(ByteOfDword, VectorConstant.Dwords((uint)format.Bias));
    }

    /// <summary>The address of byte <paramref name="offset"/> of the block: a unit of one block has its header in front of the codes.</summary>
    public MemoryOperand Block(int offset) => format.BlocksPerUnit == 1 ? At(rdx, format.HeaderBytes + offset) : At(rbx, offset);

    /// <summary>Forgets what the raw registers hold: they were used for something else, or the block has changed.</summary>
    public void Forget() => _rawLow = _rawHigh = -1;

    /// <summary>The codes of one step for the outputs of one vector.</summary>
    public void Codes(CodeStep step, int part, int target, int temporary)
    {
        if (step.LowMask == 0xFF)
        {
            vector.Load(target, CodeVector(step.Low, part));
            if (signed)
                vector.Op(VectorOp.Xor, target, target, VectorConstant.Bytes(0x80));
            return;
        }
        int source = raw < 0 ? target : raw;
        if (raw < 0 || step.Low != _rawLow)
            vector.Load(source, CodeVector(step.Low, part));
        _rawLow = step.Low;
        if (step.LowShift != 0)
            vector.Shift(VectorOp.RightWords, target, source, step.LowShift);
        else if (step.High >= 0 && source != target)
            vector.Move(target, source);
        if (step.High < 0)
        {
            vector.Op(VectorOp.And, target, step.LowShift != 0 ? target : source, LowMask);
            if (format.Codes == CodeLayout.NibbleTable)
                TableLookup(target, temporary);
            return;
        }
        HighBits(step, part, temporary);
        vector.AndOr(target, LowMask, temporary);
    }

    /// <summary>Decodes a unit's six-bit scales to [r12]; uses three temporaries.</summary>
    public void SixBitScales(int temporary)
    {
        int bits = temporary, numbers = temporary + 1, tops = temporary + 2;
        for (int part = 0; part < 64; part += VectorBytes)
        {
            for (int i = 0; i < 3; i++)
            {
                vector.Load(bits, At(rdx, format.SixBitOffset + (64 * i) + part));
                vector.Op(VectorOp.And, numbers, bits, VectorConstant.Bytes(0x3F));
                Store(numbers, (64 * i) + part);
                // Bits 6-7 of each byte become bits 2i, 2i + 1: shifting words lets neighbours in, the mask keeps them out.
                vector.Shift(VectorOp.RightWords, bits, bits, 6 - (2 * i));
                vector.Op(VectorOp.And, i == 0 ? tops : bits, bits, VectorConstant.Bytes(3 << (2 * i)));
                if (i > 0)
                    vector.Op(VectorOp.Or, tops, tops, bits);
            }
            Store(tops, 192 + part);
        }

        void Store(int source, int at)
        {
            if (!format.HasMinimum)
                vector.Op(VectorOp.SubtractBytes, source, source, VectorConstant.Bytes(32)); // scales of the two halves are stored plus 32
            vector.Store(At(r12, at), source);
        }
    }

    /// <summary>A scale or minimum of the block for the outputs of one vector.</summary>
    public void Scale(BlockScale which, int part, int target, int temporary)
    {
        int lanes = VectorBytes / 4, first = part * lanes;
        bool isMinimum = which >= BlockScale.Minimum0;
        int half = (int)which & 1;
        MemoryOperand factor = At(rdx, (isMinimum ? PanelFormat.MinimumOffset : 0) + (2 * first));
        switch (format.Scales)
        {
            case ScaleLayout.Block:
                vector.Op(VectorOp.HalfToFloat, target, factor);
                return;
            case ScaleLayout.Single:
                vector.Load(target, At(rdx, 4 * first));
                return;
            case ScaleLayout.Exponent:
                // e where binary32 has it is 2^(e − 127), but for e = 0: there stands a subnormal of that value. Half of it is exact too.
                vector.Op(VectorOp.WidenBytes, target, At(rdx, first));
                vector.Shift(VectorOp.LeftDwords, target, target, 23);
                vector.Op(VectorOp.LargestDwords, target, target, SmallestExponent);
                vector.Op(VectorOp.Multiply, target, target, Half);
                return;
            case ScaleLayout.Float8:
                vector.Op(VectorOp.WidenBytes, target, At(rbx, (16 * half) + first));
                vector.Shift(VectorOp.LeftDwords, target, target, 20);
                vector.Op(VectorOp.Multiply, target, target, HalfOfFloat8);
                return;
            case ScaleLayout.Zero or ScaleLayout.BFloatZero:
                ScaleOrZero(isMinimum, first, target, temporary);
                return;
            case ScaleLayout.Nibbles:
                vector.Op(VectorOp.WidenBytes, target, At(rbx, (16 * half) + first));
                if (isMinimum)
                    vector.Shift(VectorOp.RightDwords, target, target, 4);
                else
                    vector.Op(VectorOp.And, target, target, NibbleOfDword);
                break;
            case ScaleLayout.SixBit when format.HasMinimum:
                vector.Op(VectorOp.WidenBytes, target, At(r12, (isMinimum ? 16 : 0) + first));
                break;
            case ScaleLayout.SixBit:
                vector.Op(VectorOp.WidenSignedBytes, target, At(r12, (16 * half) + first));
                break;
            default:
                vector.Op(VectorOp.WidenSignedBytes, target, At(rbx, (16 * half) + first));
                break;
        }
        vector.Op(VectorOp.ToFloat, target, target);
        vector.Op(VectorOp.HalfToFloat, temporary, factor);
        vector.Op(VectorOp.Multiply, target, target, temporary);
        if (format.Factor != 1f)
            vector.Op(VectorOp.Multiply, target, target, Factor);
    }

    private void ScaleOrZero(bool isZero, int first, int target, int temporary)
    {
        int scale = isZero ? temporary : target;
        if (format.Scales == ScaleLayout.BFloatZero)
        {
            vector.Op(VectorOp.WidenWords, scale, At(rdx, 2 * first));
            vector.Shift(VectorOp.LeftDwords, scale, scale, 16);
        }
        else
        {
            vector.Op(VectorOp.HalfToFloat, scale, At(rdx, 2 * first));
        }
        if (!isZero)
            return;
        vector.Op(VectorOp.WidenBytes, target, At(rdx, PanelFormat.MinimumOffset + first));
        vector.Op(VectorOp.ToFloat, target, target);
        vector.Op(VectorOp.Multiply, target, target, scale);
    }

    /// <summary>Writes the block's exact float32 weights, [32, 16], to r15 + <paramref name="offset"/>; uses seven temporaries.</summary>
    public void Values(int offset, int temporary)
    {
        int codes = temporary, value = temporary + 1, spare = temporary + 2, scales = temporary + 3;
        for (int part = 0; part < 64 / VectorBytes; part++)
        {
            Forget();
            foreach (BlockScale which in BlockScales)
                Scale(which, part, scales + (int)which, value);
            foreach (CodeStep step in format.Steps)
            {
                int half = format.Halves == 2 ? step.K4 >> 2 : 0;
                Codes(step, part, codes, spare);
                for (int i = 0; i < 4; i++)
                {
                    if (format.Codes == CodeLayout.Float8)
                        Float8(i, value, codes);
                    else
                        Integer(i, value, codes);
                    vector.Op(VectorOp.Multiply, value, value, scales + half);
                    if (format.HasMinimum)
                        vector.Op(format.SubtractsMinimum ? VectorOp.Subtract : VectorOp.Add, value, value, scales + (int)BlockScale.Minimum0 + half);
                    vector.Store(At(r15, offset + (((4 * step.K4) + i) * 64) + (VectorBytes * part)), value);
                }
            }
        }
        Forget();
    }

    private void Integer(int index, int value, int codes)
    {
        if (index > 0)
            vector.Shift(VectorOp.RightDwords, value, codes, 8 * index);
        vector.Op(VectorOp.And, value, index > 0 ? value : codes, ByteOfDword);
        if (format.Bias != 0)
            vector.Op(VectorOp.SubtractDwords, value, value, VectorConstant.Dwords((uint)format.Bias));
        vector.Op(VectorOp.ToFloat, value, value);
    }

    // The byte at the top, shifted down with its sign: sign and bits stand where binary32 has them, the copies of the sign between are masked off.
    private void Float8(int index, int value, int codes)
    {
        if (index < 3)
            vector.Shift(VectorOp.LeftDwords, value, codes, 24 - (8 * index));
        vector.Shift(VectorOp.RightSignedDwords, value, index < 3 ? value : codes, 4);
        vector.Op(VectorOp.And, value, value, Float8Bits);
        vector.Op(VectorOp.Multiply, value, value, OfFloat8);
    }

    private MemoryOperand CodeVector(int index, int part) => Block(format.BlockScaleBytes + (64 * index) + (VectorBytes * part));

    private void TableLookup(int target, int temporary)
    {
        vector.Load(temporary, Table);
        vector.Op(VectorOp.Shuffle, target, temporary, target);
    }

    private void HighBits(CodeStep step, int part, int temporary)
    {
        int source = raw < 0 ? temporary : raw + 1;
        if (raw < 0 || step.High != _rawHigh)
            vector.Load(source, CodeVector(step.High, part));
        _rawHigh = step.High;
        if (step.HighShift > 0)
            vector.Shift(VectorOp.LeftWords, temporary, source, step.HighShift);
        else if (step.HighShift < 0)
            vector.Shift(VectorOp.RightWords, temporary, source, -step.HighShift);
        vector.Op(VectorOp.And, temporary, step.HighShift != 0 ? temporary : source, HighMask);
    }
}

/// <summary>A vector of factors of a block.</summary>
internal enum BlockScale
{
    /// <summary>Scales of inputs 0..15, or of all 32.</summary>
    Scale0,

    /// <summary>Scales of inputs 16..31.</summary>
    Scale1,

    /// <summary>Minima of inputs 0..15, or of all 32.</summary>
    Minimum0,

    /// <summary>Minima of inputs 16..31.</summary>
    Minimum1,
}
