using Iced.Intel;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>All forms of a vector instruction, from the assembler's table: each encoding and width with register, memory, broadcast and masked operands.</summary>
internal static class VectorForms
{
    /// <summary>The encodings of an instruction that the interpreter executes.</summary>
    public static IEnumerable<Code> Codes(Mnemonic mnemonic)
    {
        foreach (Code code in Enum.GetValues<Code>())
            if (code.Mnemonic() == mnemonic && code.Encoding() is EncodingKind.VEX or EncodingKind.EVEX && !HasCountInRegister(code.ToOpCode()))
                yield return code;
    }

    /// <summary>The forms of an encoding, for the registers and the block of a VectorFrame.</summary>
    public static IEnumerable<Instruction> Of(Code code, Random random)
    {
        OpCodeInfo info = code.ToOpCode();
        bool hasMemory = Kinds(info).Any(IsMemory);
        foreach (bool inMemory in Kinds(info).Contains(OpCodeOperandKind.mem) ? [true] : hasMemory ? new[] { false, true } : [false])
        {
            yield return Build(info, inMemory, random);
            if (!info.CanUseOpMaskRegister)
                continue;
            yield return Build(info, inMemory, random) with { OpMask = Register.K1 };
            if (info.CanUseZeroingMasking && !(inMemory && IsMemory(info.Op0Kind)))
                yield return Build(info, inMemory, random) with { OpMask = Register.K1, ZeroingMasking = true };
        }
        if (!info.CanBroadcast)
            yield break;
        yield return Build(info, true, random) with { IsBroadcast = true };
        yield return Build(info, true, random) with { IsBroadcast = true, OpMask = Register.K1 };
    }

    private static IEnumerable<OpCodeOperandKind> Kinds(OpCodeInfo info) => Enumerable.Range(0, info.OpCount).Select(info.GetOpKind);

    private static bool IsMemory(OpCodeOperandKind kind) => kind is OpCodeOperandKind.mem or OpCodeOperandKind.xmm_or_mem or OpCodeOperandKind.ymm_or_mem
        or OpCodeOperandKind.zmm_or_mem or OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.k_or_mem;

    // vpsrlw and its kin take their count from a vector register too, which no kernel does.
    private static bool HasCountInRegister(OpCodeInfo info) =>
        info.Mnemonic is Mnemonic.Vpsrlw or Mnemonic.Vpsrld or Mnemonic.Vpsllw or Mnemonic.Vpslld or Mnemonic.Vpsraw or Mnemonic.Vpsrad
        && info.GetOpKind(info.OpCount - 1) != OpCodeOperandKind.imm8;

    private static Instruction Build(OpCodeInfo info, bool inMemory, Random random)
    {
        Instruction instruction = new() { Code = info.Code };
        for (int i = 0; i < info.OpCount; i++)
        {
            OpCodeOperandKind kind = info.GetOpKind(i);
            if (kind == OpCodeOperandKind.imm8)
            {
                instruction.SetOpKind(i, OpKind.Immediate8);
                instruction.SetImmediate(i, random.Next(2) == 0 ? random.Next(256) : random.Next(33));
                continue;
            }
            if (IsMemory(kind) && inMemory)
            {
                instruction.SetOpKind(i, OpKind.Memory);
                instruction.MemoryBase = Register.RDI;
                instruction.MemoryDisplacement64 = (ulong)(i == 0 ? VectorFrame.StoreAt : VectorFrame.MemoryAt);
                instruction.MemoryDisplSize = 8;
                continue;
            }
            instruction.SetOpKind(i, OpKind.Register);
            instruction.SetOpRegister(i, RegisterOf(kind, i));
        }
        return instruction;
    }

    private static Register RegisterOf(OpCodeOperandKind kind, int operand) => kind switch
    {
        OpCodeOperandKind.xmm_reg or OpCodeOperandKind.xmm_vvvv => Register.XMM0 + Math.Min(operand, 1),
        OpCodeOperandKind.ymm_reg or OpCodeOperandKind.ymm_vvvv => Register.YMM0 + Math.Min(operand, 1),
        OpCodeOperandKind.zmm_reg or OpCodeOperandKind.zmm_vvvv => Register.ZMM0 + Math.Min(operand, 1),
        OpCodeOperandKind.xmm_or_mem or OpCodeOperandKind.xmm_rm => Register.XMM0 + (operand == 0 ? 0 : 2),
        OpCodeOperandKind.ymm_or_mem or OpCodeOperandKind.ymm_rm => Register.YMM0 + (operand == 0 ? 0 : 2),
        OpCodeOperandKind.zmm_or_mem or OpCodeOperandKind.zmm_rm => Register.ZMM0 + (operand == 0 ? 0 : 2),
        OpCodeOperandKind.k_reg or OpCodeOperandKind.k_rm or OpCodeOperandKind.k_or_mem => operand == 0 ? Register.K2 : Register.K1,
        OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.r32_reg or OpCodeOperandKind.r32_rm => Register.EAX,
        OpCodeOperandKind.r64_reg or OpCodeOperandKind.r64_rm => Register.RAX,
        _ => throw new NotSupportedException($"operand kind {kind}"),
    };
}
