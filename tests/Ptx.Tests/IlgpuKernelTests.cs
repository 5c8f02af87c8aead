using System.Runtime.CompilerServices;
using ILGPU;
using ILGPU.Algorithms;
using ILGPU.Algorithms.ScanReduceOperations;
using ILGPU.Runtime;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Ptx.Tests;

/// <summary>Small C# kernels through ILGPU's compiler: the interpreter's results against the same sums in plain C#.</summary>
public sealed class IlgpuKernelTests
{
    private const int Tile = 16;

    private static void TiledProduct(ArrayView<float> a, ArrayView<float> b, ArrayView<float> c, int n)
    {
        int x = Group.IdxX, y = Group.IdxY;
        int column = Grid.IdxX * Tile + x, row = Grid.IdxY * Tile + y;
        ArrayView<float> left = SharedMemory.Allocate<float>(Tile * Tile), right = SharedMemory.Allocate<float>(Tile * Tile);
        float sum = 0;
        for (int tile = 0; tile < n / Tile; tile++)
        {
            left[y * Tile + x] = a[row * n + tile * Tile + x];
            right[y * Tile + x] = b[(tile * Tile + y) * n + column];
            Group.Barrier();
            for (int k = 0; k < Tile; k++)
                sum += left[y * Tile + k] * right[k * Tile + x];
            Group.Barrier();
        }
        c[row * n + column] = sum;
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void TiledProduct_AnySeed_GivesTheSumsBits(int seed)
    {
        const int n = 48;
        float[] a = Numbers.Uniform(n * n, 1), b = Numbers.Uniform(n * n, 2), expected = new float[n * n];
        for (int row = 0; row < n; row++)
            for (int column = 0; column < n; column++)
                for (int k = 0; k < n; k++)
                    expected[row * n + column] += a[row * n + k] * b[k * n + column];
        PtxMemory memory = new();
        PtxBuffer left = memory.Allocate(a), right = memory.Allocate(b), product = memory.Allocate(n * n * sizeof(float));

        PtxRun run = new PtxMachine(memory, seed).Launch(
            IlgpuPtx.Compile(TiledProduct), nameof(TiledProduct), (n / Tile, n / Tile, 1), (Tile, Tile, 1), 0, left.ViewOf(4), right.ViewOf(4), product.ViewOf(4), n);

        Assert.That(memory.Read<float>(product), Is.EqualTo(expected));
        Assert.That(run.GlobalStoreBytes, Is.EqualTo(n * n * 4));
    }

    [TestCase(0)]
    [TestCase(1)]
    public void TiledProduct_ABarrierRemoved_IsARace(int which)
    {
        const int n = 48;
        string text = IlgpuPtx.Text(((Action<ArrayView<float>, ArrayView<float>, ArrayView<float>, int>)TiledProduct).Method);
        string[] pieces = text.Split("bar.sync\t0;");
        Assert.That(pieces, Has.Length.EqualTo(3));
        string broken = which == 0 ? pieces[0] + pieces[1] + "bar.sync 0;" + pieces[2] : pieces[0] + "bar.sync 0;" + pieces[1] + pieces[2];
        PtxMemory memory = new();
        PtxBuffer left = memory.Allocate(new float[n * n]), right = memory.Allocate(new float[n * n]), product = memory.Allocate(n * n * sizeof(float));

        PtxException fault = Assert.Throws<PtxException>(() => new PtxMachine(memory, 1).Launch(
            PtxModule.Parse(broken), nameof(TiledProduct), (n / Tile, n / Tile, 1), (Tile, Tile, 1), 0, left.ViewOf(4), right.ViewOf(4), product.ViewOf(4), n))!;

        // Without the first one, a read may come before the first write of the byte at all.
        Assert.That(fault.Fault, Is.EqualTo(PtxFault.Race).Or.EqualTo(which == 0 ? PtxFault.Uninitialised : PtxFault.Race), fault.Message);
    }

    private static void Sums(ArrayView<float> x, ArrayView<float> y, ArrayView<int> scans)
    {
        int i = Grid.GlobalIndex.X;
        y[i] = GroupExtensions.AllReduce<float, AddFloat>(x[i]);
        scans[i] = GroupExtensions.ExclusiveScan<int, AddInt32>(i & 7);
    }

    [Test]
    public void AllReduceAndScan_FourWarps_GiveTheGroupsSums()
    {
        const int group = 128, groups = 3;
        float[] x = [.. Enumerable.Range(0, group * groups).Select(i => (float)(i % 11))];
        PtxMemory memory = new();
        PtxBuffer input = memory.Allocate(x), sums = memory.Allocate(x.Length * 4), scans = memory.Allocate(x.Length * 4);

        new PtxMachine(memory, seed: 7).Launch(IlgpuPtx.Compile(Sums), nameof(Sums), (groups, 1, 1), (group, 1, 1), 0, input.ViewOf(4), sums.ViewOf(4), scans.ViewOf(4));

        float[] expectedSums = new float[x.Length];
        int[] expectedScans = new int[x.Length];
        for (int i = 0; i < x.Length; i++)
        {
            int first = i / group * group;
            expectedSums[i] = x[first..(first + group)].Sum();
            expectedScans[i] = Enumerable.Range(first, i - first).Sum(j => j & 7);
        }
        Assert.That(memory.Read<float>(sums), Is.EqualTo(expectedSums));
        Assert.That(memory.Read<int>(scans), Is.EqualTo(expectedScans));
    }

    private static void Butterfly(ArrayView<float> x, ArrayView<float> y)
    {
        float value = x[Grid.GlobalIndex.X];
        for (int step = 16; step > 0; step >>= 1)
            value += Warp.ShuffleXor(value, step);
        if (Warp.IsFirstLane)
            y[Grid.IdxX] = value;
    }

    [Test]
    public void ShuffleXor_Butterfly_SumsTheWarp()
    {
        float[] x = [.. Enumerable.Range(0, 64).Select(i => (float)i)];
        PtxMemory memory = new();
        PtxBuffer input = memory.Allocate(x), sums = memory.Allocate(8);

        new PtxMachine(memory, seed: 1).Launch(IlgpuPtx.Compile(Butterfly), nameof(Butterfly), (2, 1, 1), (32, 1, 1), 0, input.ViewOf(4), sums.ViewOf(4));

        Assert.That(memory.Read<float>(sums), Is.EqualTo(new[] { x[..32].Sum(), x[32..].Sum() }));
    }

    private static void Dense(ArrayView1D<float, Stride1D.Dense> x, ArrayView1D<float, Stride1D.Dense> y, float scale)
    {
        int i = Grid.GlobalIndex.X;
        if (i < y.IntLength)
            y[i] = x[i] * scale + x.IntExtent.X;
    }

    [Test]
    public void DenseViews_OfOneDimension_CarryTheirExtent()
    {
        float[] x = Numbers.Uniform(32, 8);
        PtxMemory memory = new();
        PtxBuffer input = memory.Allocate(x), output = memory.Allocate(20 * 4);

        new PtxMachine(memory, 1).Launch(IlgpuPtx.Compile(Dense), nameof(Dense), (1, 1, 1), (32, 1, 1), 0, input.ViewOf(4), output.ViewOf(4), 3f);

        Assert.That(memory.Read<float>(output), Is.EqualTo(x[..20].Select(value => value * 3f + 32)));
    }
}
