using NUnit.Framework;

namespace TpServe.Ptx.Tests;

/// <summary>What a launch tells of its accesses, and how arguments reach the kernel.</summary>
public sealed class RunTests
{
    private static PtxRun Run(string body, int threads = 32, int dynamicShared = 0)
    {
        PtxMemory memory = new();
        PtxBuffer input = memory.Allocate(new uint[4096]), output = memory.Allocate(16384);
        return new PtxMachine(memory, 1).Launch(
            Kernel.Of(body, ".extern .shared .align 16 .b8 dynamic[];"), "k", (1, 1, 1), (threads, 1, 1), dynamicShared, input.Address, output.Address, 0L, 0L);
    }

    [TestCase(4, 4, 128)] // neighbours: 128 bytes in 4 sectors
    [TestCase(8, 8, 128)]
    [TestCase(32, 32, 128)] // each lane its own sector
    [TestCase(0, 1, 128)] // all the same word
    public void GlobalLoads_ByStride_TouchTheirSectors(int stride, int sectors, int bytes)
    {
        PtxRun run = Run($".reg .b64 %q; .reg .b32 %x; mul.wide.u32 %q, %t, {stride}; add.u64 %q, %q, %a; ld.global.u32 %x, [%q];");
        Assert.That(run.GlobalLoadSectors, Is.EqualTo(sectors));
        Assert.That(run.GlobalLoadBytes, Is.EqualTo(bytes));
    }

    [TestCase(4, 1)]
    [TestCase(8, 2)]
    [TestCase(128, 32)]
    [TestCase(132, 1)] // a padded column
    [TestCase(0, 1)] // a broadcast
    public void SharedStores_ByStride_HaveTheirBankConflicts(int stride, int ways)
    {
        PtxRun run = Run($".reg .b32 %x; mov.u32 %x, dynamic; mad.lo.u32 %x, %t, {stride}, %x; st.shared.u32 [%x], 1;", dynamicShared: 8192);
        Assert.That(run.WorstBankConflict, Is.EqualTo(ways));
        Assert.That(run.AverageBankConflict, Is.EqualTo(ways));
    }

    [TestCase(16, 1)] // 8 lanes a pass
    [TestCase(32, 2)]
    [TestCase(128, 8)]
    [TestCase(144, 1)]
    public void WideSharedStores_ByStride_HaveTheirBankConflicts(int stride, int ways)
    {
        PtxRun run = Run($".reg .b32 %x; mov.u32 %x, dynamic; mad.lo.u32 %x, %t, {stride}, %x; st.shared.v4.u32 [%x], {{1, 2, 3, 4}};", dynamicShared: 8192);
        Assert.That(run.WorstBankConflict, Is.EqualTo(ways));
        Assert.That(run.SharedIdealPasses, Is.EqualTo(4));
    }

    [Test]
    public void Sites_NameTheLineAndItsCounts()
    {
        PtxRun run = Run(".reg .b32 %x; ld.global.u32 %x, [%i];", threads: 64);
        PtxSite site = run.Sites.Single(candidate => candidate.Text.StartsWith("ld.global", StringComparison.Ordinal));
        Assert.That(site, Is.EqualTo(new PtxSite(15, "ld.global.u32 %x, [%i]", 2, 256, 8, 0, 0, 0)));
        Assert.That(run.Mnemonics["ld"], Is.EqualTo(6));
        Assert.That(run.ThreadInstructions, Is.EqualTo(32 * run.WarpInstructions));
        Assert.That(run.ToString(), Does.Contain("256 bytes read in 8 sectors"));
    }

    [Test]
    public void UniformBranch_ThatParts_IsCounted()
    {
        Assert.That(Run(".reg .pred %p; setp.lt.u32 %p, %t, 5; @%p bra.uni L; L: mov.u32 %t, 0;").DividedUniformBranches, Is.EqualTo(1));
        Assert.That(Run(".reg .pred %p; setp.lt.u32 %p, %t, 50; @%p bra.uni L; L: mov.u32 %t, 0;").DividedUniformBranches, Is.Zero);
    }

    [TestCase("bar.warp.sync 0xffffffff;", false)]
    [TestCase("", true)]
    public void WarpExchange_BarrierOrNot_IsARaceOnlyWhereAskedFor(string barrier, bool isRace)
    {
        string body = $".shared .b32 s[32]; .reg .b32 %x, %n; mov.u32 %n, s; mad.lo.u32 %n, %t, 4, %n; st.shared.u32 [%n], %t; {barrier} xor.b32 %n, %n, 4; ld.shared.u32 %x, [%n];";
        Kernel.RunsClean(body, threads: 32);
        PtxMemory memory = new();
        PtxMachine machine = new(memory, 1) { FindsWarpRaces = true };
        long address = memory.Allocate(new uint[64]).Address;
        Action run = () => machine.Launch(Kernel.Of(body), "k", (1, 1, 1), (32, 1, 1), 0, address, address, 0L, 0L);
        if (isRace)
            Assert.That(Assert.Throws<PtxException>(run)!.Fault, Is.EqualTo(PtxFault.Race));
        else
            Assert.DoesNotThrow(run);
    }

    [Test]
    public void Arguments_NotFitting_AreRefused()
    {
        PtxModule module = PtxModule.Parse(".version 8.0 .target sm_80 .address_size 64 .visible .entry Kernel_f(.param .b32 a, .param .align 8 .b8 v[16], .param .b8 c) .maxntid 64, 1, 1 { ret; }");
        PtxMachine machine = new(new PtxMemory(), 1);
        Assert.DoesNotThrow(() => machine.Launch(module, "f", (1, 1, 1), (64, 1, 1), 0, 5, new View(1, 2), (byte)3));
        Assert.That(Fault(64, 5, new View(1, 2)), Is.EqualTo(PtxFault.Launch));
        Assert.That(Fault(64, 5L, new View(1, 2), (byte)3), Is.EqualTo(PtxFault.Launch));
        Assert.That(Fault(64, 5, 6L, (byte)3), Is.EqualTo(PtxFault.Launch));
        Assert.That(Fault(65, 5, new View(1, 2), (byte)3), Is.EqualTo(PtxFault.Launch));
        Assert.That(module.Kernels[0].Parameters.Select(parameter => parameter.Offset), Is.EqualTo(new[] { 0, 8, 24 }));
        Assert.That((module.Version, module.Target), Is.EqualTo(("8.0", "sm_80")));

        PtxFault Fault(int threads, params object[] args) =>
            Assert.Throws<PtxException>(() => machine.Launch(module, "f", (1, 1, 1), (threads, 1, 1), 0, args))!.Fault;
    }
}
