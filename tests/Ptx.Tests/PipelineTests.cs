using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using NUnit.Framework;

namespace TpServe.Ptx.Tests;

/// <summary>A ring of three tiles filled by cp.async ahead of their use: right as written, and each of its waits is needed.</summary>
public sealed class PipelineTests
{
    private const int Stages = 3, Threads = 64, Tiles = 9;

    /// <summary>sums[i] = Σ over the tiles of what another thread's place in the tile holds.</summary>
    private static void Ring(long source, ArrayView<int> sums)
    {
        ArrayView<int> ring = SharedMemory.GetDynamic<int>();
        int i = Group.IdxX;
        long from = source + (long)Grid.IdxX * Tiles * Threads * 16 + i * 16L;
        for (int tile = 0; tile < Stages - 1; tile++)
        {
            Copy(tile * Threads * 16 + i * 16, from + (long)tile * Threads * 16);
            CudaAsm.Emit("cp.async.commit_group;");
        }
        int sum = 0;
        for (int tile = 0; tile < Tiles; tile++)
        {
            CudaAsm.Emit("cp.async.wait_group 1;");
            Group.Barrier();
            int ahead = tile + Stages - 1;
            if (ahead < Tiles)
                Copy(ahead % Stages * Threads * 16 + i * 16, from + (long)ahead * Threads * 16);
            CudaAsm.Emit("cp.async.commit_group;");
            sum += ring[(tile % Stages * Threads + (i ^ 37)) * 4 + 1] * (tile + 1);
        }
        sums[Grid.IdxX * Threads + i] = sum;
    }

    private static void Copy(int place, long from) =>
        CudaAsm.Emit("{ .reg .u32 sa; mov.u32 sa, __dyn_shared_alloca; add.u32 sa, sa, %0; cp.async.cg.shared.global [sa], [%1], 16; }", place, from);

    private static int[] Run(string text, int seed)
    {
        int[] source = [.. Enumerable.Range(0, 2 * Tiles * Threads * 4).Select(i => i * 31 % 1009)];
        PtxMemory memory = new();
        PtxBuffer input = memory.Allocate(source), sums = memory.Allocate(2 * Threads * 4);
        new PtxMachine(memory, seed).Launch(PtxModule.Parse(text), nameof(Ring), (2, 1, 1), (Threads, 1, 1), Stages * Threads * 16, input.Address, sums.ViewOf(4));
        int[] expected = new int[2 * Threads];
        for (int i = 0; i < expected.Length; i++)
            for (int tile = 0; tile < Tiles; tile++)
                expected[i] += source[((i / Threads * Tiles + tile) * Threads + (i % Threads ^ 37)) * 4 + 1] * (tile + 1);
        Assert.That(memory.Read<int>(sums), Is.EqualTo(expected));
        return expected;
    }

    private static string Text => IlgpuPtx.Text(((Action<long, ArrayView<int>>)Ring).Method);

    [Test]
    public void Ring_AsWritten_GivesTheSumsForEverySeed()
    {
        for (int seed = 0; seed < 10; seed++)
            Run(Text, seed);
    }

    [TestCase("cp.async.wait_group 1;", "cp.async.wait_group 2;")] // one group too few
    [TestCase("cp.async.wait_group 1;", "")]
    [TestCase("bar.sync\t0;", "")]
    [TestCase("bar.sync\t0;", "bar.warp.sync 0xffffffff;")]
    public void Ring_AWaitWeakened_IsFound(string right, string wrong)
    {
        string text = Text;
        Assert.That(text, Does.Contain(right));
        for (int seed = 0; seed < 10; seed++)
        {
            PtxException fault = Assert.Throws<PtxException>(() => Run(text.Replace(right, wrong, StringComparison.Ordinal), seed))!;
            Assert.That(fault.Fault, Is.EqualTo(PtxFault.InFlight).Or.EqualTo(PtxFault.Race).Or.EqualTo(PtxFault.Uninitialised), fault.Message);
        }
    }
}
