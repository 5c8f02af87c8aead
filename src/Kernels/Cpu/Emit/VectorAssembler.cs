using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>Writes vector instructions by register number in the width and encoding of a family; other instructions through <see cref="Code"/>.</summary>
internal sealed class VectorAssembler(InstructionFamily family)
{
    private readonly Dictionary<VectorConstant, Label> _constants = [];
    private readonly Dictionary<VectorConstant, int> _pinned = [];

    /// <summary>The code being written.</summary>
    public Assembler Code { get; } = new(64);

    /// <summary>Width and instructions.</summary>
    public InstructionFamily Family => family;

    /// <summary>Writes constants ahead of the function, each filling a vector: instructions reach them relative to rip.</summary>
    public void Reserve(params ReadOnlySpan<VectorConstant> constants)
    {
        foreach (VectorConstant constant in constants)
        {
            if (_constants.ContainsKey(constant))
                continue;
            Label label = Code.CreateLabel();
            Code.Label(ref label);
            for (int i = 0; i < family.VectorBytes; i += 16)
                Code.dq(constant.Low, constant.High);
            _constants.Add(constant, label);
        }
    }

    /// <summary>Bytes written by <see cref="Reserve"/>.</summary>
    public int ReservedBytes => _constants.Count * family.VectorBytes;

    /// <summary>A reserved constant as a memory operand.</summary>
    public MemoryOperand Constant(VectorConstant constant) => __[_constants[constant]].ToMemoryOperand(64);

    /// <summary>[register + offset].</summary>
    public static MemoryOperand At(AssemblerRegister64 register, int offset) => new(register, offset, 1);

    /// <summary>target = a op b.</summary>
    public void Op(VectorOp op, int target, int a, int b) => Code.AddInstruction(Instruction.Create(Encoding(op), Register(target), Register(a), Register(b)));

    /// <summary>target = a op memory.</summary>
    public void Op(VectorOp op, int target, int a, in MemoryOperand b) => Code.AddInstruction(Instruction.Create(Encoding(op), Register(target), Register(a), b));

    /// <summary>target = a op the dword at register + offset in all lanes; the narrow families load it into <paramref name="temporary"/> first.</summary>
    public void OpBroadcast(VectorOp op, int target, int a, AssemblerRegister64 register, int offset, int temporary)
    {
        if (family.IsWide)
        {
            Code.AddInstruction(Instruction.Create(Encoding(op), Register(target), Register(a), new MemoryOperand(register, offset, 1, true, Iced.Intel.Register.None)));
            return;
        }
        Broadcast(temporary, register, offset);
        Op(op, target, a, temporary);
    }

    /// <summary>target = op(a), of a whole vector.</summary>
    public void Op(VectorOp op, int target, int a) => Code.AddInstruction(Instruction.Create(Encoding(op), Register(target), Register(a)));

    /// <summary>target = op(memory).</summary>
    public void Op(VectorOp op, int target, in MemoryOperand a) => Code.AddInstruction(Instruction.Create(Encoding(op), Register(target), a));

    /// <summary>target = a shifted by <paramref name="bits"/>.</summary>
    public void Shift(VectorOp op, int target, int a, int bits) => Code.AddInstruction(Instruction.Create(Encoding(op), Register(target), Register(a), bits));

    /// <summary>A whole vector from memory.</summary>
    public void Load(int target, in MemoryOperand source) =>
        Code.AddInstruction(Instruction.Create(family.IsWide ? Iced.Intel.Code.EVEX_Vmovups_zmm_k1z_zmmm512 : Iced.Intel.Code.VEX_Vmovups_ymm_ymmm256, Register(target), source));

    /// <summary>A whole vector to memory.</summary>
    public void Store(in MemoryOperand target, int source) =>
        Code.AddInstruction(Instruction.Create(family.IsWide ? Iced.Intel.Code.EVEX_Vmovups_zmmm512_k1z_zmm : Iced.Intel.Code.VEX_Vmovups_ymmm256_ymm, target, Register(source)));

    /// <summary>target = source.</summary>
    public void Move(int target, int source) =>
        Code.AddInstruction(Instruction.Create(family.IsWide ? Iced.Intel.Code.EVEX_Vmovups_zmm_k1z_zmmm512 : Iced.Intel.Code.VEX_Vmovups_ymm_ymmm256, Register(target), Register(source)));

    /// <summary>The dword at register + offset in all lanes.</summary>
    public void Broadcast(int target, AssemblerRegister64 register, int offset) => Broadcast(target, At(register, offset));

    /// <summary>A dword of memory in all lanes.</summary>
    public void Broadcast(int target, in MemoryOperand source) =>
        Code.AddInstruction(Instruction.Create(
            family.IsWide ? Iced.Intel.Code.EVEX_Vbroadcastss_zmm_k1z_xmmm32 : Iced.Intel.Code.VEX_Vbroadcastss_ymm_m32, Register(target), source));

    /// <summary>target = 0.</summary>
    public void Clear(int target) => Op(VectorOp.Xor, target, target, target);

    /// <summary>Keeps a reserved constant in a register from here on.</summary>
    public void Pin(VectorConstant constant, int register)
    {
        Load(register, Constant(constant));
        _pinned.Add(constant, register);
    }

    /// <summary>target = a op a reserved constant, wherever it is.</summary>
    public void Op(VectorOp op, int target, int a, VectorConstant constant)
    {
        if (_pinned.TryGetValue(constant, out int register))
            Op(op, target, a, register);
        else
            Op(op, target, a, Constant(constant));
    }

    /// <summary>target = a reserved constant.</summary>
    public void Load(int target, VectorConstant constant)
    {
        if (_pinned.TryGetValue(constant, out int register))
            Move(target, register);
        else
            Load(target, Constant(constant));
    }

    /// <summary>target = (target &amp; mask) | bits, one instruction where the family has it.</summary>
    public void AndOr(int target, VectorConstant mask, int bits)
    {
        if (!family.IsWide)
        {
            Op(VectorOp.And, target, target, mask);
            Op(VectorOp.Or, target, target, bits);
            return;
        }
        const byte firstAndThirdOrSecond = 0xEC;
        Code encoding = Iced.Intel.Code.EVEX_Vpternlogd_zmm_k1z_zmm_zmmm512b32_imm8;
        Code.AddInstruction(_pinned.TryGetValue(mask, out int register)
            ? Instruction.Create(encoding, Register(target), Register(bits), Register(register), firstAndThirdOrSecond)
            : Instruction.Create(encoding, Register(target), Register(bits), Constant(mask), firstAndThirdOrSecond));
    }

    /// <summary>Bytes of <paramref name="target"/> with the sign of those of <paramref name="signs"/>; wide families take the signs from a mask register.</summary>
    /// <remarks>Where a sign byte is 0 the narrow families give 0, the wide ones the byte: the product with |0| is 0 either way.</remarks>
    public void Sign(int target, int bytes, int signs)
    {
        if (!family.IsWide)
        {
            Op(VectorOp.Sign, target, bytes, signs);
            return;
        }
        if (target != bytes)
            Move(target, bytes);
        Instruction negate = Instruction.Create(
            Iced.Intel.Code.EVEX_Vpsubb_zmm_k1z_zmm_zmmm512, Register(target), Register(_pinned[VectorConstant.Zero]), Register(bytes));
        negate.OpMask = Iced.Intel.Register.K1;
        Code.AddInstruction(negate);
    }

    /// <summary>Wide families: k1 = the top bits of a register's bytes, for <see cref="Sign"/>.</summary>
    public void KeepSigns(int signs)
    {
        if (family.IsWide)
            Code.AddInstruction(Instruction.Create(Iced.Intel.Code.EVEX_Vpmovb2m_kr_zmm, Iced.Intel.Register.K1, Register(signs)));
    }

    private Register Register(int number) => (family.IsWide ? Iced.Intel.Register.ZMM0 : Iced.Intel.Register.YMM0) + number;

    private Code Encoding(VectorOp op)
    {
        (Code narrow, Code wide) = op switch
        {
            VectorOp.Add => (Iced.Intel.Code.VEX_Vaddps_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er),
            VectorOp.Subtract => (Iced.Intel.Code.VEX_Vsubps_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er),
            VectorOp.Multiply => (Iced.Intel.Code.VEX_Vmulps_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er),
            VectorOp.MultiplyAdd231 => (Iced.Intel.Code.VEX_Vfmadd231ps_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er),
            VectorOp.MultiplyAdd213 => (Iced.Intel.Code.VEX_Vfmadd213ps_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er),
            VectorOp.And => (Iced.Intel.Code.VEX_Vpand_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32),
            VectorOp.Or => (Iced.Intel.Code.VEX_Vpor_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpord_zmm_k1z_zmm_zmmm512b32),
            VectorOp.Xor => (Iced.Intel.Code.VEX_Vpxor_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32),
            VectorOp.Shuffle => (Iced.Intel.Code.VEX_Vpshufb_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpshufb_zmm_k1z_zmm_zmmm512),
            VectorOp.AddWords => (Iced.Intel.Code.VEX_Vpaddw_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpaddw_zmm_k1z_zmm_zmmm512),
            VectorOp.AddDwords => (Iced.Intel.Code.VEX_Vpaddd_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32),
            VectorOp.SubtractBytes => (Iced.Intel.Code.VEX_Vpsubb_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpsubb_zmm_k1z_zmm_zmmm512),
            VectorOp.SubtractDwords => (Iced.Intel.Code.VEX_Vpsubd_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32),
            VectorOp.LargestDwords => (Iced.Intel.Code.VEX_Vpmaxsd_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32),
            VectorOp.MultiplyAddBytes => (Iced.Intel.Code.VEX_Vpmaddubsw_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpmaddubsw_zmm_k1z_zmm_zmmm512),
            VectorOp.MultiplyAddWords => (Iced.Intel.Code.VEX_Vpmaddwd_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpmaddwd_zmm_k1z_zmm_zmmm512),
            VectorOp.DotBytes => (Iced.Intel.Code.VEX_Vpdpbusd_ymm_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpdpbusd_zmm_k1z_zmm_zmmm512b32),
            VectorOp.DotBFloats => (Iced.Intel.Code.INVALID, Iced.Intel.Code.EVEX_Vdpbf16ps_zmm_k1z_zmm_zmmm512b32),
            VectorOp.Sign => (Iced.Intel.Code.VEX_Vpsignb_ymm_ymm_ymmm256, Iced.Intel.Code.INVALID),
            VectorOp.Magnitude => (Iced.Intel.Code.VEX_Vpabsb_ymm_ymmm256, Iced.Intel.Code.EVEX_Vpabsb_zmm_k1z_zmmm512),
            VectorOp.ToFloat => (Iced.Intel.Code.VEX_Vcvtdq2ps_ymm_ymmm256, Iced.Intel.Code.EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er),
            VectorOp.HalfToFloat => (Iced.Intel.Code.VEX_Vcvtph2ps_ymm_xmmm128, Iced.Intel.Code.EVEX_Vcvtph2ps_zmm_k1z_ymmm256_sae),
            VectorOp.WidenBytes => (Iced.Intel.Code.VEX_Vpmovzxbd_ymm_xmmm64, Iced.Intel.Code.EVEX_Vpmovzxbd_zmm_k1z_xmmm128),
            VectorOp.WidenSignedBytes => (Iced.Intel.Code.VEX_Vpmovsxbd_ymm_xmmm64, Iced.Intel.Code.EVEX_Vpmovsxbd_zmm_k1z_xmmm128),
            VectorOp.WidenWords => (Iced.Intel.Code.VEX_Vpmovzxwd_ymm_xmmm128, Iced.Intel.Code.EVEX_Vpmovzxwd_zmm_k1z_ymmm256),
            VectorOp.RightWords => (Iced.Intel.Code.VEX_Vpsrlw_ymm_ymm_imm8, Iced.Intel.Code.EVEX_Vpsrlw_zmm_k1z_zmmm512_imm8),
            VectorOp.LeftWords => (Iced.Intel.Code.VEX_Vpsllw_ymm_ymm_imm8, Iced.Intel.Code.EVEX_Vpsllw_zmm_k1z_zmmm512_imm8),
            VectorOp.RightDwords => (Iced.Intel.Code.VEX_Vpsrld_ymm_ymm_imm8, Iced.Intel.Code.EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8),
            VectorOp.RightSignedDwords => (Iced.Intel.Code.VEX_Vpsrad_ymm_ymm_imm8, Iced.Intel.Code.EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8),
            VectorOp.LeftDwords => (Iced.Intel.Code.VEX_Vpslld_ymm_ymm_imm8, Iced.Intel.Code.EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8),
            _ => throw new ArgumentOutOfRangeException(nameof(op), op, "no such instruction"),
        };
        Code chosen = family.IsWide ? wide : narrow;
        bool missing = chosen == Iced.Intel.Code.INVALID || (op == VectorOp.DotBytes && !family.HasVnni) || (op == VectorOp.DotBFloats && !family.HasBFloat16);
        return missing ? throw new InvalidOperationException($"{op} is not in the family {family}.") : chosen;
    }
}

/// <summary>The instructions of panel kernels that every family has in its own width, but for the three that say so.</summary>
internal enum VectorOp
{
    /// <summary>VADDPS.</summary>
    Add,

    /// <summary>VSUBPS.</summary>
    Subtract,

    /// <summary>VMULPS.</summary>
    Multiply,

    /// <summary>VFMADD231PS: target += a · b.</summary>
    MultiplyAdd231,

    /// <summary>VFMADD213PS: target = target · a + b.</summary>
    MultiplyAdd213,

    /// <summary>VPAND.</summary>
    And,

    /// <summary>VPOR.</summary>
    Or,

    /// <summary>VPXOR.</summary>
    Xor,

    /// <summary>VPSHUFB.</summary>
    Shuffle,

    /// <summary>VPADDW.</summary>
    AddWords,

    /// <summary>VPADDD.</summary>
    AddDwords,

    /// <summary>VPSUBB.</summary>
    SubtractBytes,

    /// <summary>VPSUBD.</summary>
    SubtractDwords,

    /// <summary>VPMAXSD.</summary>
    LargestDwords,

    /// <summary>VPMADDUBSW: unsigned bytes of a times signed ones of b, pairs added to 16 bits.</summary>
    MultiplyAddBytes,

    /// <summary>VPMADDWD: words, pairs added to 32 bits.</summary>
    MultiplyAddWords,

    /// <summary>VPDPBUSD: four unsigned times signed bytes added to a dword. Families with VNNI.</summary>
    DotBytes,

    /// <summary>VDPBF16PS. Wide families with BF16.</summary>
    DotBFloats,

    /// <summary>VPSIGNB. Narrow families.</summary>
    Sign,

    /// <summary>VPABSB.</summary>
    Magnitude,

    /// <summary>VCVTDQ2PS.</summary>
    ToFloat,

    /// <summary>VCVTPH2PS.</summary>
    HalfToFloat,

    /// <summary>VPMOVZXBD.</summary>
    WidenBytes,

    /// <summary>VPMOVSXBD.</summary>
    WidenSignedBytes,

    /// <summary>VPMOVZXWD.</summary>
    WidenWords,

    /// <summary>VPSRLW.</summary>
    RightWords,

    /// <summary>VPSLLW.</summary>
    LeftWords,

    /// <summary>VPSRLD.</summary>
    RightDwords,

    /// <summary>VPSRAD.</summary>
    RightSignedDwords,

    /// <summary>VPSLLD.</summary>
    LeftDwords,
}

/// <summary>Sixteen bytes that fill a vector by repetition.</summary>
internal readonly record struct VectorConstant(ulong Low, ulong High)
{
    /// <summary>Zero; the wide families' <see cref="VectorAssembler.Sign"/> wants it pinned.</summary>
    public static VectorConstant Zero { get; } = Dwords(0);

    /// <summary>Words of 1: VPMADDWD with it adds neighbours.</summary>
    public static VectorConstant OneWords { get; } = Dwords(0x00010001);

    /// <summary>A byte everywhere.</summary>
    public static VectorConstant Bytes(int value) => Dwords((uint)value * 0x01010101u);

    /// <summary>A dword everywhere.</summary>
    public static VectorConstant Dwords(uint value) => new(value * 0x0000000100000001ul, value * 0x0000000100000001ul);

    /// <summary>A binary32 everywhere.</summary>
    public static VectorConstant Single(float value) => Dwords(BitConverter.SingleToUInt32Bits(value));

    /// <summary>A table of sixteen bytes.</summary>
    public static VectorConstant Table(ReadOnlySpan<byte> bytes) => new(BitConverter.ToUInt64(bytes), BitConverter.ToUInt64(bytes[8..]));
}
