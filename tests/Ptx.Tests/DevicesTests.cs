using NUnit.Framework;

namespace TpServe.Ptx.Tests;

/// <summary>Kernels that run at the same time on several devices and hand data over through memory they share.</summary>
public sealed class DevicesTests
{
    /// <summary>Writes a word a thread to p0, raises the flag p1, waits for the flag p2, and adds the words at p3 to its own.</summary>
    private const string Exchange = """
        .reg .b64 %c, %d, %q; .reg .b32 %x, %y, %zero; .reg .pred %p;
        ld.param.b64 %c, [p2];
        ld.param.b64 %d, [p3];
        add.u32 %x, %t, 1;
        st.global.u32 [%i], %x;
        bar.sync 0;
        mov.u32 %zero, 0;
        setp.ne.u32 %p, %t, 0;
        @%p bra WAIT;
        FENCE
        STORE.u32 [%b], 1;
        WAIT:
        LOAD.u32 %y, [%c];
        setp.eq.u32 %p, %y, 0;
        @%p bra WAIT;
        FENCE
        mad.wide.u32 %q, %t, 4, %d;
        ld.global.u32 %y, [%q];
        add.u32 %x, %x, %y;
        st.global.u32 [%i+256], %x;
        """;

    private static uint[][] Run(string fence, string store, string load, int seed)
    {
        const int threads = 64;
        PtxModule module = Kernel.Of(Exchange.Replace("FENCE", fence, StringComparison.Ordinal).Replace("STORE", store, StringComparison.Ordinal).Replace("LOAD", load, StringComparison.Ordinal));
        PtxMemory memory = new();
        PtxBuffer[] data = [memory.Allocate(512), memory.Allocate(512)], flags = [memory.Allocate(new uint[1]), memory.Allocate(new uint[1])];
        PtxLaunch On(int device) => new(module, "k", (1, 1, 1), (threads, 1, 1), 0, data[device].Address, flags[device].Address, flags[1 - device].Address, data[1 - device].Address);
        PtxRun[] runs = new PtxMachine(memory, seed) { Budget = 100_000 }.LaunchTogether(On(0), On(1));
        Assert.That(runs, Has.Length.EqualTo(2));
        return [memory.Read<uint>(data[0], 256, threads), memory.Read<uint>(data[1], 256, threads)];
    }

    [TestCase("membar.sys;", "st.volatile.global", "ld.volatile.global")]
    [TestCase("fence.sc.sys;", "st.relaxed.sys.global", "ld.relaxed.sys.global")]
    [TestCase("", "st.release.sys.global", "ld.acquire.sys.global")]
    public void Exchange_OfTheSystemsScope_GivesBothTheSum(string fence, string store, string load)
    {
        for (int seed = 0; seed < 6; seed++)
            Assert.That(Run(fence, store, load, seed), Has.All.EqualTo(Enumerable.Range(1, 64).Select(t => 2u * (uint)t)));
    }

    [TestCase("membar.gl;", "st.volatile.global", "ld.volatile.global")] // the fence reaches its own device only
    [TestCase("membar.sys;", "st.relaxed.gpu.global", "ld.relaxed.gpu.global")] // the flag does
    [TestCase("", "st.release.gpu.global", "ld.acquire.sys.global")]
    [TestCase("membar.sys;", "st.global", "ld.volatile.global")]
    [TestCase("", "st.volatile.global", "ld.volatile.global")]
    public void Exchange_OfANarrowerScope_IsARace(string fence, string store, string load)
    {
        for (int seed = 0; seed < 6; seed++)
            Assert.That(Assert.Throws<PtxException>(() => Run(fence, store, load, seed))!.Fault, Is.EqualTo(PtxFault.Race));
    }

    [Test]
    public void ReadOnlyPath_OfBytesTheLaunchWrites_IsARaceEvenInOrder()
    {
        const string before = ".reg .b32 %x; st.global.u32 [%o], %t; bar.sync 0; ld.global{0}.u32 %x, [%o];";
        const string after = ".reg .b32 %x; ld.global{0}.u32 %x, [%i]; bar.sync 0; st.global.u32 [%i], %t;";
        foreach (string body in new[] { before, after })
        {
            Kernel.RunsClean(body.Replace("{0}", "", StringComparison.Ordinal), threads: 32);
            Assert.That(Kernel.Fault(body.Replace("{0}", ".nc", StringComparison.Ordinal), threads: 32).Fault, Is.EqualTo(PtxFault.Race));
        }
    }
}
