using System.Runtime.InteropServices;
using Iced.Intel;
using NUnit.Framework;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Every form of every vector instruction: the interpreter's bits are this machine's.</summary>
[TestFixture]
public sealed unsafe class InterpreterInstructionTests
{
    private const int Rounds = 100;

    private byte* _native;
    private byte* _interpreted;

    private static IEnumerable<Mnemonic> Mnemonics =>
        StepDecoder.VectorMnemonics.Concat([Mnemonic.Kmovb, Mnemonic.Kmovw, Mnemonic.Kmovd, Mnemonic.Kmovq]).Order();

    [OneTimeSetUp]
    public void Allocate()
    {
        _native = (byte*)NativeMemory.AlignedAlloc(VectorFrame.Bytes, 64);
        _interpreted = (byte*)NativeMemory.AlignedAlloc(VectorFrame.Bytes, 64);
    }

    [OneTimeTearDown]
    public void Free()
    {
        NativeMemory.AlignedFree(_native);
        NativeMemory.AlignedFree(_interpreted);
    }

    [TestCaseSource(nameof(Mnemonics))]
    public void Instruction_RandomAndEdgeOperands_SameBitsAsThisMachine(Mnemonic mnemonic)
    {
        if (!HostFeatures.RunsCode)
            Assert.Ignore("This machine does not execute AVX code.");
        Code[] codes = [.. VectorForms.Codes(mnemonic)];
        Assert.That(codes, Is.Not.Empty);
        Code[] known = [.. codes.Where(code => code.CpuidFeatures().All(HostFeatures.Has))];
        if (known.Length == 0)
            Assert.Ignore($"This machine lacks {string.Join(" or ", codes.SelectMany(code => code.CpuidFeatures()).Distinct())}.");
        Random random = new((int)mnemonic);
        foreach (Code code in known)
        {
            foreach (Instruction form in VectorForms.Of(code, random))
                CompareWithMachine(form, random.Next());
        }
    }

    [TestCase(Code.VEX_Vpdpbusd_xmm_xmm_xmmm128, Code.EVEX_Vpdpbusd_xmm_k1z_xmm_xmmm128b32)]
    [TestCase(Code.VEX_Vpdpbusd_ymm_ymm_ymmm256, Code.EVEX_Vpdpbusd_ymm_k1z_ymm_ymmm256b32)]
    public void VexDot_OnAnyMachine_SameBitsAsTheEvexForm(Code vex, Code evex)
    {
        OperandNumbers numbers = new(5);
        bool native = HostFeatures.RunsCode && evex.CpuidFeatures().All(HostFeatures.Has);
        foreach ((Instruction form, Instruction oracle) in VectorForms.Of(vex, new Random(1)).Zip(VectorForms.Of(evex, new Random(1)).Where(form => form.OpMask == Register.None)))
        {
            using VectorFrame frame = new(form, hasAvx512: true), other = new(oracle, hasAvx512: true);
            for (int round = 0; round < Rounds; round++)
            {
                Span<byte> block = new(_native, VectorFrame.Bytes), interpreted = new(_interpreted, VectorFrame.Bytes);
                Fill(Mnemonic.Vpdpbusd, numbers, block);
                block.CopyTo(interpreted);
                if (native)
                    other.RunNatively(_native);
                else
                    other.Interpret(_native);
                frame.Interpret(_interpreted);
                Assert.That(interpreted.ToArray(), Is.EqualTo(block.ToArray()), $"{form}, round {round}");
                int expected = *(int*)(_native + VectorFrame.OldAt + 4);
                byte* second = _native + (form.Op2Kind == OpKind.Memory ? VectorFrame.MemoryAt : VectorFrame.SecondAt);
                for (int i = 4; i < 8; i++)
                    expected = unchecked(expected + (_native[VectorFrame.FirstAt + i] * (sbyte)second[i]));
                Assert.That(*(int*)(_interpreted + VectorFrame.ResultAt + 4), Is.EqualTo(expected));
            }
        }
    }

    // 2^-126 − 1.5 · 2^-151 as a sum: 24 bits make it 2^-126 − 2^-150, which is tiny; the subnormal grid alone would make it 2^-126. At
    // two thirds of that distance from 2^-126, a tie, both make it 2^-126.
    [TestCase(0x99C0u, 0u)]
    [TestCase(0x9980u, 0x00800000u)]
    [TestCase(0x99FFu, 0u)]
    [TestCase(0x9A00u, 0u)]
    [TestCase(0x9981u, 0u)]
    public void BFloatDot_JustBelowTheSmallestNormal_ZeroWhereTinyAfterRounding(uint factor, uint expected)
    {
        Instruction form = VectorForms.Of(Code.EVEX_Vdpbf16ps_xmm_k1z_xmm_xmmm128b32, new Random(1)).First();
        using VectorFrame frame = new(form, hasAvx512: true);
        foreach (int shift in new[] { 0, 16 })
        {
            foreach (bool native in new[] { false, true })
            {
                if (native && !(HostFeatures.RunsCode && form.CpuidFeatures.All(HostFeatures.Has)))
                    continue;
                byte* block = native ? _native : _interpreted;
                new Span<byte>(block, VectorFrame.Bytes).Clear();
                *(uint*)(block + VectorFrame.ControlAt) = SingleArithmetic.DefaultControl;
                *(uint*)(block + VectorFrame.OldAt) = 0x00800000;
                *(uint*)(block + VectorFrame.FirstAt) = factor << shift;
                *(uint*)(block + VectorFrame.SecondAt) = 0x1A00u << shift;
                if (native)
                    frame.RunNatively(block);
                else
                    frame.Interpret(block);
                Assert.That(*(uint*)(block + VectorFrame.ResultAt), Is.EqualTo(expected), $"native {native}, half {shift / 16}");
            }
        }
    }

    private void CompareWithMachine(in Instruction form, int seed)
    {
        using VectorFrame frame = new(form, HostFeatures.HasAvx512);
        OperandNumbers numbers = new(seed);
        Span<byte> native = new(_native, VectorFrame.Bytes), interpreted = new(_interpreted, VectorFrame.Bytes);
        byte[] before = new byte[VectorFrame.Bytes];
        for (int round = 0; round < Rounds; round++)
        {
            Fill(form.Mnemonic, numbers, before);
            before.CopyTo(native);
            before.CopyTo(interpreted);
            frame.RunNatively(_native);
            frame.Interpret(_interpreted);
            int at = native.CommonPrefixLength(interpreted) & ~3;
            if (at != VectorFrame.Bytes)
                Assert.Fail($"{form} ({form.Code}), round {round}, block +{at}:\n{Row("machine", native, at)}\n{Row("interpreter", interpreted, at)}\n{Inputs(before, at)}");
        }
    }

    private static void Fill(Mnemonic mnemonic, OperandNumbers numbers, Span<byte> block)
    {
        numbers.Bytes(block);
        Span<byte> old = block.Slice(VectorFrame.OldAt, 64), first = block.Slice(VectorFrame.FirstAt, 64);
        Span<byte> second = block.Slice(VectorFrame.SecondAt, 64), memory = block.Slice(VectorFrame.MemoryAt, 64);
        if (mnemonic == Mnemonic.Vdpbf16ps)
            numbers.BFloats(old, first, second);
        else if (VectorOperation.Of(mnemonic).TakesSingles)
            numbers.Singles(old, first, second);
        if (mnemonic == Mnemonic.Vdpbf16ps || VectorOperation.Of(mnemonic).TakesSingles)
            second.CopyTo(memory);
        BitConverter.TryWriteBytes(block[VectorFrame.ControlAt..], numbers.Control());
    }

    private static string Row(string name, ReadOnlySpan<byte> block, int at) => $"{name}: {BitConverter.ToUInt32(block[at..]):X8}";

    private static string Inputs(ReadOnlySpan<byte> block, int at)
    {
        int lane = at & 63;
        return $"old {BitConverter.ToUInt32(block[(VectorFrame.OldAt + lane)..]):X8}, first {BitConverter.ToUInt32(block[(VectorFrame.FirstAt + lane)..]):X8}, "
            + $"second {BitConverter.ToUInt32(block[(VectorFrame.SecondAt + lane)..]):X8}, MXCSR {BitConverter.ToUInt32(block[VectorFrame.ControlAt..]):X}, "
            + $"k1 {BitConverter.ToUInt64(block[VectorFrame.ScalarsAt..]):X}";
    }
}
