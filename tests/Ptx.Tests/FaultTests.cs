using NUnit.Framework;

namespace TpServe.Ptx.Tests;

/// <summary>Each fault a kernel can have is found, and its repaired twin runs clean.</summary>
public sealed class FaultTests
{
    private const string Exchange = """
        .shared .align 16 .b8 s[512];
        .reg .b32 %v, %n, %s;
        shl.b32 %n, %t, 2;
        mov.u32 %s, s;
        add.u32 %n, %n, %s;
        st.shared.u32 [%n], 0;
        bar.sync 0;
        st.shared.u32 [%n], %t;
        BARRIER
        xor.b32 %n, %n, 128;
        ld.shared.u32 %v, [%n];
        st.global.u32 [%o], %v;
        """;

    [Test]
    public void SharedExchange_WithoutBarrier_IsARace()
    {
        for (int seed = 0; seed < 8; seed++)
            Assert.That(Kernel.Fault(Exchange.Replace("BARRIER", "", StringComparison.Ordinal), seed: seed).Fault, Is.EqualTo(PtxFault.Race));
    }

    [Test]
    public void SharedExchange_WithBarrier_RunsClean() => Kernel.RunsClean(Exchange.Replace("BARRIER", "bar.sync 0;", StringComparison.Ordinal));

    [Test]
    public void SharedReuse_WithoutSecondBarrier_IsARaceThatNamesBothLines()
    {
        string body = Exchange.Replace("BARRIER", "bar.sync 0;", StringComparison.Ordinal) + "st.shared.u32 [%n], %t;\n xor.b32 %n, %n, 128; st.shared.u32 [%n], 7;";
        PtxException fault = Kernel.Fault(body);
        Assert.That(fault.Fault, Is.EqualTo(PtxFault.Race));
        Assert.That(fault.Message, Does.Contain("st.shared.u32 [%n]").And.Contain("no order"));
        Assert.That(fault.Message.Split("line ").Length, Is.EqualTo(3), fault.Message);
    }

    [Test]
    public void GlobalWrites_OfTwoBlocksToOneWord_AreARace()
    {
        PtxException fault = Kernel.Fault("st.global.u32 [%o], %t;", threads: 32, blocks: 2);
        Assert.That(fault.Fault, Is.EqualTo(PtxFault.Race));
        Kernel.RunsClean("red.global.add.u32 [%i], %t;", threads: 32, blocks: 2);
    }

    [Test]
    public void Store_OfTwoValuesByLanesOfOneInstruction_IsARace()
    {
        Assert.That(Kernel.Fault("st.global.u32 [%b], %t;", threads: 32).Fault, Is.EqualTo(PtxFault.Race));
        Kernel.RunsClean("st.global.u32 [%b], 5;", threads: 32);
    }

    [TestCase("ld.global.u32 %t, [%a+1024];", PtxFault.OutOfBounds)]
    [TestCase("ld.global.u32 %t, [%a+-4];", PtxFault.OutOfBounds)]
    [TestCase("ld.global.u32 %t, [%a+2];", PtxFault.Misaligned)]
    [TestCase("ld.global.u32 %t, [%b];", PtxFault.Uninitialised)]
    [TestCase(".reg .f32 %f<2>; add.f32 %f0, %f1, %f1;", PtxFault.Uninitialised)]
    [TestCase(".shared .b32 s[4]; .reg .b32 %v; mov.u32 %v, s; st.shared.u32 [%v+16], %t;", PtxFault.OutOfBounds)]
    [TestCase(".shared .b32 s[4]; .reg .b32 %v; mov.u32 %v, 0; st.shared.u32 [%v], %t;", PtxFault.OutOfBounds)]
    [TestCase(".local .b32 d[4]; .reg .b64 %v; mov.u64 %v, d; st.local.u32 [%v+-4], %t;", PtxFault.OutOfBounds)]
    [TestCase("mov.u64 %a, 12; ld.global.u32 %t, [%a];", PtxFault.OutOfBounds)]
    [TestCase("trap;", PtxFault.Trap)]
    public void Access_Wrong_IsFoundAndNamed(string body, PtxFault expected)
    {
        PtxException fault = Kernel.Fault(body);
        Assert.That(fault.Fault, Is.EqualTo(expected), fault.Message);
        Assert.That(fault.Message, Does.StartWith("k, line ").And.Contain("thread ("));
    }

    private const string Copy = """
        .shared .align 16 .b8 s[1024];
        .reg .b32 %v, %n, %s;
        .reg .b64 %g;
        shl.b32 %n, %t, 4;
        mov.u32 %s, s;
        add.u32 %n, %n, %s;
        cvt.u64.u32 %g, %t;
        and.b64 %g, %g, 15;
        shl.b64 %g, %g, 4;
        add.u64 %g, %g, %a;
        cp.async.cg.shared.global [%n], [%g], 16;
        cp.async.commit_group;
        WAIT
        BARRIER
        xor.b32 %n, %n, 512;
        ld.shared.u32 %v, [%n];
        """;

    [TestCase("", "bar.sync 0;", PtxFault.InFlight)]
    [TestCase("cp.async.wait_group 1;", "bar.sync 0;", PtxFault.InFlight)]
    [TestCase("bar.sync 0;", "cp.async.wait_group 0;", PtxFault.Race)] // the barrier before the wait orders nothing
    public void AsynchronousCopy_NotWaitedFor_IsFound(string wait, string barrier, PtxFault expected)
    {
        string body = Copy.Replace("WAIT", wait, StringComparison.Ordinal).Replace("BARRIER", barrier, StringComparison.Ordinal);
        PtxFault[] faults = [.. Enumerable.Range(0, 32).Select(seed => Kernel.Fault(body, seed: seed).Fault)];
        Assert.That(faults, Has.All.AnyOf(expected, PtxFault.InFlight));
        Assert.That(faults, Does.Contain(expected));
    }

    [Test]
    public void AsynchronousCopy_WaitAndBarrier_RunsClean() =>
        Kernel.RunsClean(Copy.Replace("WAIT", "cp.async.wait_group 0;", StringComparison.Ordinal).Replace("BARRIER", "bar.sync 0;", StringComparison.Ordinal));

    [TestCase("shfl.sync.bfly.b32 %v, %t, 1, 31, 0xffffffff;")]
    [TestCase("bar.sync 0;")]
    [TestCase("bar.warp.sync 0xffffffff;")]
    [TestCase("redux.sync.add.s32 %v, %t, 0xffffffff;")]
    [TestCase("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%v}, [%v];")]
    public void WarpInstruction_OfAPartOfTheWarp_IsDivergent(string instruction)
    {
        string body = ".reg .pred %p; .reg .b32 %v; .shared .align 16 .b32 s[64]; mov.u32 %v, s; setp.lt.u32 %p, %t, 7; @!%p bra DONE; " + instruction + " DONE: mov.b32 %v, 0;";
        Assert.That(Kernel.Fault(body, threads: 32).Fault, Is.EqualTo(PtxFault.Divergent));
    }

    [Test]
    public void Loop_WithoutEnd_IsOverBudgetAndNamesPlaces()
    {
        PtxException fault = Kernel.Fault("AGAIN: bra AGAIN;", budget: 1000);
        Assert.That(fault.Fault, Is.EqualTo(PtxFault.Budget));
        Assert.That(fault.Message, Does.Contain("warp 0").And.Contain("warp 1").And.Contain("AGAIN"));
    }

    [Test]
    public void Barrier_OneWarpElsewhere_IsADeadlock()
    {
        string body = ".reg .pred %p; setp.lt.u32 %p, %t, 32; @%p bra FIRST; bar.sync 1; bra DONE; FIRST: bar.sync 2; DONE: mov.b32 %t, 0;";
        PtxException fault = Kernel.Fault(body);
        Assert.That(fault.Fault, Is.EqualTo(PtxFault.Deadlock));
        Assert.That(fault.Message, Does.Contain("bar.sync 1").And.Contain("bar.sync 2"));
    }

    [TestCase("frobnicate.b32 %t, %t;", PtxFault.UnknownInstruction)]
    [TestCase("add.quick.u32 %t, %t, 1;", PtxFault.UnknownInstruction)]
    [TestCase("wgmma.fence.sync.aligned;", PtxFault.UnknownInstruction)]
    [TestCase("add.u32 %t, %t;", PtxFault.Syntax)]
    [TestCase("add.u32 %t, %t, %nowhere;", PtxFault.Syntax)]
    [TestCase("bra NOWHERE;", PtxFault.Syntax)]
    [TestCase("add.u32 %t %t, 1;", PtxFault.Syntax)]
    public void Text_Wrong_IsRefusedWithItsLine(string body, PtxFault expected)
    {
        PtxException fault = Assert.Throws<PtxException>(() => Kernel.Of(body))!;
        Assert.That(fault.Fault, Is.EqualTo(expected), fault.Message);
        Assert.That(fault.Message, Does.Contain("line 15"));
    }
}
