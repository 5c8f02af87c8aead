using NUnit.Framework;

namespace TpServe.Ptx.Tests;

/// <summary>Blocks that wait for each other through flags: fences order them, their absence is found.</summary>
public sealed class BlockSyncTests
{
    /// <summary>Block 0 writes and raises a flag; block 1 waits for it and reads.</summary>
    private const string Handover = """
        .reg .pred %p;
        .reg .b32 %c, %v;
        mov.u32 %c, %ctaid.x;
        setp.ne.u32 %p, %c, 0;
        @%p bra TAKER;
        st.global.u32 [%o], %t;
        RELEASE
        bar.sync 0;
        setp.ne.u32 %p, %t, 0;
        @%p bra DONE;
        red.global.add.u32 [%a], 1;
        bra DONE;
        TAKER:
        ld.volatile.global.u32 %v, [%a];
        setp.eq.u32 %p, %v, 0;
        @%p bra TAKER;
        ACQUIRE
        ld.global.u32 %v, [%o];
        DONE:
        mov.b32 %v, 0;
        """;

    private static string Body(string release, string acquire) =>
        Handover.Replace("RELEASE", release, StringComparison.Ordinal).Replace("ACQUIRE", acquire, StringComparison.Ordinal);

    [Test]
    public void Handover_FencesOnBothSides_RunsClean() => Kernel.RunsClean(Body("membar.gl;", "membar.gl;"), threads: 64, blocks: 2, resident: 2);

    [TestCase("", "membar.gl;")]
    [TestCase("membar.gl;", "")]
    [TestCase("membar.cta;", "membar.gl;")]
    public void Handover_AFenceMissing_IsARace(string release, string acquire) =>
        Assert.That(Kernel.Fault(Body(release, acquire), threads: 64, blocks: 2, resident: 2).Fault, Is.EqualTo(PtxFault.Race));

    /// <summary>Warp 0 hands its words of shared memory over to warp 1 through a flag, without a barrier.</summary>
    private const string WarpHandover = """
        .shared .align 4 .b32 s[33];
        .reg .pred %p;
        .reg .b32 %v, %n, %s;
        mov.u32 %s, s;
        and.b32 %n, %t, 31;
        shl.b32 %n, %n, 2;
        add.u32 %n, %n, %s;
        setp.eq.u32 %p, %t, 0;
        @%p st.volatile.shared.u32 [%s+128], 0;
        bar.sync 0;
        setp.ge.u32 %p, %t, 32;
        @%p bra TAKER;
        st.shared.u32 [%n], %t;
        FENCE
        setp.ne.u32 %p, %t, 0;
        @%p bra DONE;
        st.volatile.shared.u32 [%s+128], 1;
        bra DONE;
        TAKER:
        ld.volatile.shared.u32 %v, [%s+128];
        setp.eq.u32 %p, %v, 0;
        @%p bra TAKER;
        FENCE
        ld.shared.u32 %v, [%n];
        DONE:
        mov.b32 %v, 0;
        """;

    [Test]
    public void WarpHandover_FencesOfTheBlock_AreEnough() => Kernel.RunsClean(WarpHandover.Replace("FENCE", "membar.cta;", StringComparison.Ordinal));

    [Test]
    public void WarpHandover_WithoutFences_IsARace() =>
        Assert.That(Kernel.Fault(WarpHandover.Replace("FENCE", "", StringComparison.Ordinal)).Fault, Is.EqualTo(PtxFault.Race));

    [Test]
    public void Handover_BlocksNotTogether_IsOverBudgetWhereTheTakerComesFirst()
    {
        List<PtxFault> faults = [];
        for (int seed = 0; seed < 8; seed++)
        {
            PtxMemory memory = new();
            PtxBuffer input = memory.Allocate(new uint[256]), output = memory.Allocate(4096);
            try
            {
                new PtxMachine(memory, seed) { Budget = 20_000 }.Launch(Kernel.Of(Body("membar.gl;", "membar.gl;")), "k", (2, 1, 1), (64, 1, 1), 0, input.Address, output.Address, 0L, 0L);
            }
            catch (PtxException fault)
            {
                faults.Add(fault.Fault);
            }
        }
        Assert.That(faults, Has.All.EqualTo(PtxFault.Budget));
        Assert.That(faults, Has.Count.InRange(1, 7));
    }

    [Test]
    public void Lock_SpunOnByLanesOfOneWarp_IsOverBudget()
    {
        const string body = """
            .reg .pred %p, %q;
            .reg .b32 %v;
            AGAIN:
            atom.global.acquire.gpu.cas.b32 %v, [%a], 0, 1;
            setp.ne.u32 %p, %v, 0;
            @%p bra AGAIN;
            ld.volatile.global.u32 %v, [%a+4];
            add.u32 %v, %v, 1;
            st.volatile.global.u32 [%a+4], %v;
            atom.global.release.gpu.exch.b32 %v, [%a], 0;
            """;
        PtxMemory memory = new();
        PtxBuffer state = memory.Allocate(new uint[2]);
        PtxModule module = Kernel.Of(body);
        // The lane that gets the lock waits behind the loop for the others, which wait for the lock.
        PtxException? fault = Assert.Throws<PtxException>(() => new PtxMachine(memory, 1) { Budget = 20_000 }.Launch(module, "k", (1, 1, 1), (32, 1, 1), 0, state.Address, state.Address, 0L, 0L));
        Assert.That(fault!.Fault, Is.EqualTo(PtxFault.Budget));
    }
}
