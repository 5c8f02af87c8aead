using System.Runtime.InteropServices;
using Iced.Intel;
using NUnit.Framework;
using NUnit.Framework.Constraints;
using static Iced.Intel.AssemblerRegisters;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>What interpreted code must not do is found and named.</summary>
[TestFixture]
public sealed unsafe class InterpreterFaultTests
{
    private const int Bytes = 128;
    private byte* _block;

    [SetUp]
    public void Allocate() => _block = (byte*)NativeMemory.AlignedAlloc(Bytes, 64);

    [TearDown]
    public void Free() => NativeMemory.AlignedFree(_block);

    [TestCase(64, true)]
    [TestCase(65, false)]
    [TestCase(-1, false)]
    [TestCase(128, false)]
    public void Store_AnywhereButInsideTheRange_Fails(int at, bool allowed)
    {
        static void Emit(Assembler c, int at)
        {
            c.vmovups(__zmmword_ptr[rdi + at], zmm1);
            c.vzeroupper();
        }
        if (allowed)
            Assert.That(() => Run(c => Emit(c, at)), Throws.Nothing);
        else
            Assert.That(() => Run(c => Emit(c, at)), Fails("vmovups", "offset 0x0", "write of 64 bytes", $"its byte {at}", "the block"));
    }

    [Test]
    public void Store_ToReadOnlyRangeOrCode_Fails()
    {
        Assert.That(() => Run(c => c.mov(__qword_ptr[rdi], rax), write: false), Fails("write of 8 bytes", "read only"));
        Assert.That(
            () => Run(c =>
            {
                Label here = c.CreateLabel();
                c.Label(ref here);
                c.mov(__qword_ptr[here], rax);
            }),
            Fails("write of 8 bytes", "the code"));
    }

    [Test]
    public void Load_OfCodeAndThroughIndex_StaysInRange()
    {
        Assert.That(
            () => Run(c =>
            {
                Label table = c.CreateLabel(), end = c.CreateLabel();
                c.vpbroadcastd(ymm1, __dword_ptr[table]);
                c.mov(eax, 15);
                c.vaddps(xmm1, xmm1, __[rdi + (rax * 8) - 8]);
                c.vzeroupper();
                c.jmp(end);
                c.Label(ref table);
                c.dd(1);
                c.Label(ref end);
                c.nop();
            }),
            Throws.Nothing);
        Assert.That(
            () => Run(c =>
            {
                c.mov(eax, 15);
                c.vaddps(xmm1, xmm1, __[rdi + (rax * 8)]);
            }),
            Fails("vaddps", "read of 16 bytes", "its byte 120"));
    }

    [TestCase(0x1UL, true)]
    [TestCase(0x8000UL, true)]
    [TestCase(0x10000UL, false)]
    public void MaskedStore_AcrossTheRangesEnd_TouchesOnlyItsElements(ulong mask, bool allowed)
    {
        void Emit(Assembler c)
        {
            c.mov(rax, mask);
            c.kmovq(k1, rax);
            c.vmovdqu8(__zmmword_ptr[rdi + 112].k1, zmm1);
        }
        Assert.That(() => Run(Emit), allowed ? Throws.Nothing : Fails("vmovdqu8", "write of 1 bytes", "its byte 128"));
    }

    [Test]
    public void Prefetch_OfAnyAddress_TouchesNothing() => Assert.That(() => Run(c => c.prefetcht1(__byte_ptr[rdi + 0x10000000])), Throws.Nothing);

    [Test]
    public void Instruction_OfAnotherCpu_Fails()
    {
        Assert.That(() => Run(c => c.vpxord(zmm0, zmm0, zmm0), features: HostFeatures.Avx2), Fails("vpxord", "AVX512F"));
        Assert.That(() => Run(c => c.vpandd(ymm16, ymm0, ymm0), features: HostFeatures.AvxVnni), Fails("vpandd", "AVX512VL"));
        Assert.That(() => Run(c => c.vpdpbusd(zmm0, zmm0, zmm0), features: HostFeatures.Avx512), Fails("vpdpbusd", "AVX512_VNNI"));
        Assert.That(() => Run(c => c.vdpbf16ps(zmm0, zmm0, zmm0), features: HostFeatures.Avx512Vnni), Fails("vdpbf16ps", "AVX512_BF16"));
        Assert.That(() => Run(c => c.vfmadd231ps(ymm0, ymm0, ymm0), features: [CpuidFeature.AVX, CpuidFeature.AVX2]), Fails("vfmadd231ps", "FMA"));
        Assert.That(() => Run(c => c.shlx(rax, rax, rax), features: HostFeatures.Avx512), Fails("shlx", "BMI2"));
    }

    [Test]
    public void Instruction_NotKnown_Fails()
    {
        Assert.That(() => Run(c => c.vdivps(xmm0, xmm0, xmm0)), Fails("no vdivps"));
        Assert.That(() => Run(c => c.vpsrlw(xmm0, xmm0, xmm1)), Fails("no vpsrlw"));
        Assert.That(() => Run(c => c.vaddps(zmm0, zmm0, zmm1.rz_sae)), Fails("no vaddps"));
        Assert.That(() => Run(c => c.mov(ax, 1)), Fails("no mov"));
        Assert.That(() => Run(c => c.call(0)), Fails("no call"));
        Assert.That(() => Run(c => c.db(0x06)), Fails("no instruction"));
    }

    [Test]
    public void Loop_WithoutEnd_Fails() => Assert.That(
        () => Run(c =>
        {
            Label start = c.CreateLabel();
            c.Label(ref start);
            c.jmp(start);
        }),
        Fails("jmp", "1000 steps"));

    [Test]
    public void Code_WithoutReturn_Fails() => Assert.That(() => Run(c => c.jmp(0x1000)), Fails("ran to offset 0x1000"));

    [Test]
    public void CalleeSavedRegister_Clobbered_Fails()
    {
        foreach (AssemblerRegister64 register in new[] { rbx, rbp, r12, r13, r14, r15 })
            Assert.That(() => Run(c => c.inc(register)), Fails("belongs to the caller", register.Value.ToString()));
        Assert.That(() => Run(c => c.push(rax)), Fails("not the return address"));
    }

    [Test]
    public void Control_NotRestored_Fails()
    {
        void Emit(Assembler c)
        {
            c.mov(__dword_ptr[rdi], 0x9FC0);
            c.vldmxcsr(__dword_ptr[rdi]);
        }
        Assert.That(() => Run(Emit), Fails("returned with MXCSR 0x9FC0"));
        Assert.That(
            () => Run(c =>
            {
                c.vstmxcsr(__dword_ptr[rsp - 4]);
                Emit(c);
                c.vldmxcsr(__dword_ptr[rsp - 4]);
            }),
            Throws.Nothing);
        Assert.That(
            () => Run(c =>
            {
                c.mov(__dword_ptr[rdi], 0x7F80); // rounds towards zero
                c.vldmxcsr(__dword_ptr[rdi]);
            }),
            Fails("MXCSR 0x7F80"));
    }

    [Test]
    public void UpperHalves_NotCleared_Fails()
    {
        Assert.That(() => Run(c => c.vpxor(ymm0, ymm0, ymm0)), Fails("vzeroupper"));
        Assert.That(() => Run(c => c.vpxor(xmm0, xmm0, xmm0)), Throws.Nothing);
        Assert.That(
            () => Run(c =>
            {
                c.vpxor(ymm0, ymm0, ymm0);
                c.vzeroupper();
            }),
            Throws.Nothing);
    }

    [Test]
    public void AlignedMove_ToOddAddress_Fails() => Assert.That(() => Run(c => c.vmovaps(xmm0, __[rdi + 8])), Fails("vmovaps", "not a multiple of 16"));

    [Test]
    public void Jump_OnUndefinedFlag_Fails()
    {
        Assert.That(() => Run(c => JumpIfZero(c)), Fails("undefined"));
        Assert.That(
            () => Run(c =>
            {
                c.imul(rax, rax);
                JumpIfZero(c);
            }),
            Fails("je", "undefined"));
        Assert.That(
            () => Run(c =>
            {
                c.test(rax, rax);
                JumpIfZero(c);
            }),
            Throws.Nothing);

        static void JumpIfZero(Assembler c)
        {
            Label next = c.CreateLabel();
            c.je(next);
            c.Label(ref next);
            c.nop();
        }
    }

    private static IResolveConstraint Fails(params string[] words) => Throws.TypeOf<InterpreterFaultException>().With.Property(nameof(Exception.Message)).Matches<string>(
        message => message is not null && words.All(word => message.Contains(word, StringComparison.OrdinalIgnoreCase)));

    private void Run(Action<Assembler> emit, bool write = true, CpuidFeature[]? features = null)
    {
        Assembler c = new(64);
        emit(c);
        c.ret();
        using MemoryStream code = new();
        c.Assemble(new StreamCodeWriter(code), 0);
        using CodeInterpreter interpreter = new(code.ToArray(), features ?? HostFeatures.Avx512BFloat16) { StepLimit = 1000 };
        interpreter.Allow((nint)_block, Bytes, write, "the block");
        interpreter.Run(0, (nint)_block);
    }
}
