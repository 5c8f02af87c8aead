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

    private static void Fill(Mnemonic mnemonic, OperandNumbers numbers, byte[] block)
    {
        numbers.Bytes(block);
        Span<byte> old = block.AsSpan(VectorFrame.OldAt, 64), first = block.AsSpan(VectorFrame.FirstAt, 64);
        Span<byte> second = block.AsSpan(VectorFrame.SecondAt, 64), memory = block.AsSpan(VectorFrame.MemoryAt, 64);
        if (mnemonic == Mnemonic.Vdpbf16ps)
            numbers.BFloats(old, first, second);
        else if (VectorOperation.Of(mnemonic).TakesSingles)
            numbers.Singles(old, first, second);
        if (mnemonic == Mnemonic.Vdpbf16ps || VectorOperation.Of(mnemonic).TakesSingles)
            second.CopyTo(memory);
        BitConverter.TryWriteBytes(block.AsSpan(VectorFrame.ControlAt), numbers.Control());
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
