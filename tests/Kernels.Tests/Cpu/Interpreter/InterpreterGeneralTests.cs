using System.Runtime.InteropServices;
using Iced.Intel;
using NUnit.Framework;
using TpServe.Kernels.Cpu.Emit;
using static Iced.Intel.AssemblerRegisters;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Instructions on general registers: results, memory and the jumps after them are this machine's.</summary>
[TestFixture]
public sealed unsafe class InterpreterGeneralTests
{
    private const int Rounds = 100;
    private const int Bytes = 256;
    private const int MemoryAt = 64;
    private const int JumpsAt = 128;

    // The block's first bytes fill these; r8 is the destination, r9 the source, rcx a count, r10 an index; r10 and r11 set the flags before.
    private static readonly AssemblerRegister64[] Registers = [rax, rcx, r8, r9, r10, r11];

    private static readonly OpCodeOperandKind[] Kinds =
    [
        OpCodeOperandKind.r32_or_mem, OpCodeOperandKind.r64_or_mem, OpCodeOperandKind.r32_reg, OpCodeOperandKind.r64_reg, OpCodeOperandKind.r32_opcode,
        OpCodeOperandKind.r64_opcode, OpCodeOperandKind.imm32, OpCodeOperandKind.imm32sex64, OpCodeOperandKind.imm64, OpCodeOperandKind.imm8,
        OpCodeOperandKind.imm8sex32, OpCodeOperandKind.imm8sex64, OpCodeOperandKind.imm8_const_1, OpCodeOperandKind.cl, OpCodeOperandKind.eax,
        OpCodeOperandKind.rax, OpCodeOperandKind.mem,
    ];

    private static readonly Mnemonic[] Mnemonics =
    [
        Mnemonic.Mov, Mnemonic.Lea, Mnemonic.Add, Mnemonic.Sub, Mnemonic.Cmp, Mnemonic.And, Mnemonic.Or, Mnemonic.Xor, Mnemonic.Test, Mnemonic.Inc,
        Mnemonic.Dec, Mnemonic.Shl, Mnemonic.Shr, Mnemonic.Sar, Mnemonic.Imul,
    ];

    [TestCaseSource(nameof(Mnemonics))]
    public void Instruction_RandomAndEdgeOperands_SameAsThisMachine(Mnemonic mnemonic)
    {
        if (!HostFeatures.RunsCode)
            Assert.Ignore("This machine does not execute x86-64 code.");
        Random random = new((int)mnemonic);
        int forms = 0;
        foreach (Code code in Enum.GetValues<Code>().Where(code => code.Mnemonic() == mnemonic && code.Encoding() == EncodingKind.Legacy))
        {
            OpCodeInfo info = code.ToOpCode();
            OpCodeOperandKind[] kinds = [.. Enumerable.Range(0, info.OpCount).Select(info.GetOpKind)];
            if (!info.Mode64 || info.OpCount == (mnemonic == Mnemonic.Imul ? 1 : 0) || !kinds.All(Kinds.Contains))
                continue;
            bool hasMemory = kinds.Any(kind => kind is OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.r64_or_mem);
            foreach (bool inMemory in hasMemory ? new[] { false, true } : [mnemonic == Mnemonic.Lea])
            {
                for (int variant = 0; variant < 4; variant++, forms++)
                    Compare(Build(info, kinds, inMemory, random), random);
            }
        }
        Assert.That(forms, Is.GreaterThanOrEqualTo(8));
    }

    [Test]
    public void PushAndPop_OfSeveralRegisters_SameAsThisMachine()
    {
        if (!HostFeatures.RunsCode)
            Assert.Ignore("This machine does not execute x86-64 code.");
        Assembler c = new(64);
        c.push(rbx);
        c.push(r12);
        c.mov(rbx, __qword_ptr[rdi]);
        c.mov(r12, __qword_ptr[rdi + 8]);
        c.push(rsp); // the value is rsp before the push
        c.pop(rax);
        c.sub(rax, rsp);
        c.mov(__qword_ptr[rdi + 16], rax);
        c.push(rbx);
        c.push(r12);
        c.mov(rcx, __qword_ptr[rsp + 8]);
        c.mov(__qword_ptr[rdi + 24], rcx);
        c.pop(r8);
        c.pop(r9);
        c.mov(__qword_ptr[rdi + 32], r8);
        c.mov(__qword_ptr[rdi + 40], r9);
        c.pop(r12);
        c.pop(rbx);
        c.ret();
        CompareCode(Assemble(c), new Random(1), "push and pop");
    }

    private static Instruction Build(OpCodeInfo info, OpCodeOperandKind[] kinds, bool inMemory, Random random)
    {
        Instruction instruction = new() { Code = info.Code };
        for (int i = 0; i < kinds.Length; i++)
        {
            switch (kinds[i])
            {
                case OpCodeOperandKind.mem:
                    SetMemory(ref instruction, i, Register.R9, Register.R10, 1 << random.Next(4), random.Next(-100000, 100000));
                    break;
                case OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.r64_or_mem when inMemory:
                    SetMemory(ref instruction, i, Register.RDI, Register.None, 1, MemoryAt + (8 * random.Next(8)));
                    break;
                case OpCodeOperandKind.imm32 or OpCodeOperandKind.imm32sex64 or OpCodeOperandKind.imm64 or OpCodeOperandKind.imm8 or OpCodeOperandKind.imm8sex32 or OpCodeOperandKind.imm8sex64 or OpCodeOperandKind.imm8_const_1:
                    SetImmediate(ref instruction, i, kinds[i], random);
                    break;
                default:
                    instruction.SetOpKind(i, OpKind.Register);
                    instruction.SetOpRegister(i, kinds[i] switch
                    {
                        OpCodeOperandKind.cl => Register.CL,
                        OpCodeOperandKind.eax => Register.EAX,
                        OpCodeOperandKind.rax => Register.RAX,
                        OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.r32_reg or OpCodeOperandKind.r32_opcode => i == 0 ? Register.R8D : Register.R9D,
                        _ => i == 0 ? Register.R8 : Register.R9,
                    });
                    break;
            }
        }
        return instruction;
    }

    private static void SetMemory(ref Instruction instruction, int operand, Register first, Register index, int scale, int displacement)
    {
        instruction.SetOpKind(operand, OpKind.Memory);
        instruction.MemoryBase = first;
        instruction.MemoryIndex = index;
        instruction.MemoryIndexScale = scale;
        instruction.MemoryDisplacement64 = (ulong)displacement;
        instruction.MemoryDisplSize = 8;
    }

    private static void SetImmediate(ref Instruction instruction, int operand, OpCodeOperandKind kind, Random random)
    {
        instruction.SetOpKind(operand, kind switch
        {
            OpCodeOperandKind.imm32 => OpKind.Immediate32,
            OpCodeOperandKind.imm32sex64 => OpKind.Immediate32to64,
            OpCodeOperandKind.imm64 => OpKind.Immediate64,
            OpCodeOperandKind.imm8sex32 => OpKind.Immediate8to32,
            OpCodeOperandKind.imm8sex64 => OpKind.Immediate8to64,
            _ => OpKind.Immediate8,
        });
        instruction.SetImmediate(operand, kind switch
        {
            OpCodeOperandKind.imm8_const_1 => 1,
            OpCodeOperandKind.imm8 => random.Next(256),
            OpCodeOperandKind.imm8sex32 or OpCodeOperandKind.imm8sex64 => random.Next(-128, 128),
            OpCodeOperandKind.imm64 => random.NextInt64(),
            _ => (long)random.Next(int.MinValue, int.MaxValue),
        });
    }

    // The instruction between loads and stores of all registers, then one jump of each condition that is defined after it.
    private static void Compare(in Instruction instruction, Random random)
    {
        Assembler c = new(64);
        for (int i = 0; i < Registers.Length; i++)
            c.mov(Registers[i], __qword_ptr[rdi + (8 * i)]);
        c.cmp(r10, r11);
        c.AddInstruction(instruction);
        for (int i = 0; i < Registers.Length; i++)
            c.mov(__qword_ptr[rdi + (8 * i)], Registers[i]);
        bool isShift = instruction.Mnemonic is Mnemonic.Shl or Mnemonic.Shr or Mnemonic.Sar;
        bool once = isShift && instruction.Op1Kind == OpKind.Immediate8 && instruction.GetImmediate(1) == 1;
        bool hasOverflow = !isShift || once, hasSign = instruction.Mnemonic != Mnemonic.Imul;
        Action<Label>[] jumps =
        [
            c.jb, c.jae, .. hasSign ? new Action<Label>[] { c.je, c.jne, c.ja, c.jbe, c.js, c.jns } : [], .. hasOverflow ? new Action<Label>[] { c.jo, c.jno } : [],
            .. hasSign && hasOverflow ? new Action<Label>[] { c.jl, c.jge, c.jg, c.jle } : [],
        ];
        for (int i = 0; i < jumps.Length; i++)
        {
            Label taken = c.CreateLabel();
            c.mov(__dword_ptr[rdi + (JumpsAt + (4 * i))], 1);
            jumps[i](taken);
            c.mov(__dword_ptr[rdi + (JumpsAt + (4 * i))], 0);
            c.Label(ref taken);
            c.nop();
        }
        c.ret();
        CompareCode(Assemble(c), random, instruction.ToString());
    }

    private static void CompareCode(byte[] code, Random random, string name)
    {
        using ExecutableMemory native = new(code);
        using CodeInterpreter interpreter = new(code, []);
        byte* block = (byte*)NativeMemory.AlignedAlloc(Bytes, 64);
        interpreter.Allow((nint)block, Bytes, write: true);
        long[] before = new long[Bytes / 8];
        for (int round = 0; round < Rounds; round++)
        {
            foreach (ref long value in before.AsSpan())
                value = random.Next(8) switch { 0 => 0, 1 => -1, 2 => 1, 3 => long.MinValue, 4 => int.MinValue, 5 => random.Next(), _ => random.NextInt64(long.MinValue, long.MaxValue) };
            if (random.Next(4) == 0)
                before[4] = before[5];
            before.CopyTo(new Span<long>(block, before.Length));
            ((delegate* unmanaged<byte*, void>)native.Address)(block);
            byte[] expected = new ReadOnlySpan<byte>(block, Bytes).ToArray();
            before.CopyTo(new Span<long>(block, before.Length));
            interpreter.Run(0, (nint)block);
            Assert.That(new ReadOnlySpan<byte>(block, Bytes).ToArray(), Is.EqualTo(expected), $"{name}, round {round}");
        }
        NativeMemory.AlignedFree(block);
    }

    private static byte[] Assemble(Assembler c)
    {
        using MemoryStream code = new();
        c.Assemble(new StreamCodeWriter(code), 0);
        return code.ToArray();
    }
}
