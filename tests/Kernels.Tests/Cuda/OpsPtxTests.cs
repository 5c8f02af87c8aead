using System.Collections.Concurrent;
using NUnit.Framework;
using TpServe.Kernels.Cuda.Intrinsics;
using TpServe.Kernels.Cuda.Ops;
using TpServe.Ptx;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>The PTX of norms, elementwise operations, row copies and selection in an interpreter, which looks for races and stray accesses.</summary>
/// <remarks>Where no approximation is in a kernel, its bits are the emulated device's.</remarks>
[Parallelizable(ParallelScope.None)]
public sealed class OpsPtxTests() : CudaFixture("emulated")
{
    private static readonly ConcurrentDictionary<OfflineKernel, PtxModule> Modules = new();
    private readonly PtxMemory _memory = new();

    [Test]
    public void TopK_SegmentsAndMerge_FindTheBestForAnyOrderOfThreads([Values(1, 40)] int k, [Values(1, 2)] int seed)
    {
        const int n = 2, count = 5000, segments = 2, stride = count + 3, firstId = 100;
        float[] x = [.. Numbers.Uniform(n * stride, seed).Select((v, i) => i % 7 == 0 ? float.NaN : MathF.Round(300 * v))];
        PtxBuffer rows = _memory.Allocate(x), left = _memory.Allocate(8L * n * segments * k), values = _memory.Allocate(4L * n * k), ids = _memory.Allocate(4L * n * k);
        Launch(OfflineKernel.Of(typeof(TopKKernels), "SegmentKernel"), seed, n * segments, 256, rows.ViewOf(4), left.ViewOf(8), count, segments, (long)stride, k);
        Launch(OfflineKernel.Of(typeof(TopKKernels), "MergeKernel"), seed, n, 256, rows.ViewOf(4), left.ViewOf(8), values.ViewOf(4), ids.ViewOf(4), segments * k, k, (long)stride, k, k, firstId);

        Tensor best = Host.Empty(n, k), bestIds = Host.Empty(n, k, ElementType.Int32);
        Oracle.TopK(Host.Of([.. Enumerable.Range(0, n).SelectMany(row => x[(row * stride)..(row * stride + count)])], n, count), k, firstId, best, bestIds);
        Assert.That(_memory.Read<float>(values), Is.EqualTo(HostTensors.Values(best)));
        Assert.That(_memory.Read<int>(ids), Is.EqualTo(HostTensors.Integers(bestIds)));
    }

    [TestCase(30, 40)] // less than k values
    [TestCase(300, 64)]
    [TestCase(300, 1)]
    public void TopK_RowOfOneSegment_FindsTheBest(int count, int k)
    {
        float[] x = [.. Numbers.Uniform(count, seed: 3).Select(v => MathF.Round(20 * v))];
        PtxBuffer rows = _memory.Allocate(x), values = _memory.Allocate(4L * k), ids = _memory.Allocate(4L * k);
        Launch(OfflineKernel.Of(typeof(TopKKernels), "RowKernel"), 1, 1, 256, rows.ViewOf(4), values.ViewOf(4), ids.ViewOf(4), count, k, (long)count, k, k, 0);

        Tensor best = Host.Empty(1, k), bestIds = Host.Empty(1, k, ElementType.Int32);
        Oracle.TopK(Host.Of(x, 1, count), k, 0, best, bestIds);
        Assert.That(_memory.Read<float>(values), Is.EqualTo(HostTensors.Values(best)));
        Assert.That(_memory.Read<int>(ids), Is.EqualTo(HostTensors.Integers(bestIds)));
    }

    [TestCase(100, 128, 0)]
    [TestCase(100, 128, 1)]
    [TestCase(1100, 512, 1)]
    public void AddNorm_AnyOrderOfThreads_HasTheEmulatedDevicesBits(int dim, int threads, int aligned)
    {
        const int n = 2;
        const float scale = 0.3f, epsilon = 1e-5f;
        float[] x = Numbers.Uniform(n * dim, seed: 4), y = Numbers.Uniform(n * dim, seed: 5), w = Numbers.Uniform(dim, seed: 6);
        PtxBuffer sum = _memory.Allocate(x), normed = _memory.Allocate(4L * n * dim);
        Launch(OfflineKernel.Of(typeof(NormKernels), "AddNormKernel"), 2, n, threads,
            sum.ViewOf(4), _memory.Allocate(y).ViewOf(4), _memory.Allocate(w).ViewOf(4), normed.ViewOf(4), dim, dim, dim, dim, scale, epsilon, aligned);

        Tensor expectedSum = Device.Of(x, n, dim), expected = Device.Empty(n, dim);
        Backend.AddNorm(expectedSum, Device.Of(y, n, dim), scale, Device.Of(w, 1, dim), epsilon, expected);
        Assert.That(_memory.Read<float>(sum), Is.EqualTo(Device.Values(expectedSum)));
        Assert.That(_memory.Read<float>(normed), Is.EqualTo(Device.Values(expected)));
    }

    [TestCase(1)]
    [TestCase(9)]
    [TestCase(200)] // more sums than threads
    public void NormBySums_AnyOrderOfThreads_HasTheEmulatedDevicesBits(int groups)
    {
        const int n = 2, columns = 50;
        float[] x = Numbers.Uniform(n * columns, seed: 7), w = Numbers.Uniform(columns, seed: 8), sums = [.. Numbers.Uniform(n * groups, seed: 9).Select(MathF.Abs)];
        PtxBuffer values = _memory.Allocate(x);
        Launch(OfflineKernel.Of(typeof(NormKernels), "NormBySumsKernel"), 3, n, 128,
            values.ViewOf(4), _memory.Allocate(sums).ViewOf(4), _memory.Allocate(w).ViewOf(4), columns, groups, columns, groups, (float)(groups * columns), 1e-5f, 0);

        Tensor expected = Device.Of(x, n, columns);
        Backend.NormBySums(expected, Device.Of(sums, n, groups), groups * columns, Device.Of(w, 1, columns), 1e-5f);
        Assert.That(_memory.Read<float>(values), Is.EqualTo(Device.Values(expected)));
    }

    [Test]
    public void SumSquares_GroupsOfARow_HasTheEmulatedDevicesBits()
    {
        const int groups = 3, dim = 72;
        float[] x = Numbers.Uniform(groups * dim, seed: 10);
        PtxBuffer sums = _memory.Allocate(4L * groups);
        Launch(OfflineKernel.Of(typeof(NormKernels), "SumSquaresKernel"), 4, groups, 128, _memory.Allocate(x).ViewOf(4), sums.ViewOf(4), groups, dim, groups * dim, groups, 1);

        Tensor expected = Device.Empty(1, groups);
        Backend.SumSquares(Device.Of(x, 1, groups * dim), dim, expected);
        Assert.That(_memory.Read<float>(sums), Is.EqualTo(Device.Values(expected)));
    }

    [Test]
    public void GatedActivation_WholeQuads_MatchesTheOracleByFullSectors([Values] Activation activation)
    {
        const int n = 2, columns = 520, segments = 2;
        float[] x = [.. Numbers.Uniform(n * 2 * columns, seed: 11).Select(v => 9 * v)];
        PtxBuffer gate = _memory.Allocate(x), y = _memory.Allocate(4L * n * columns);
        View up = new(gate.Address + 4 * columns, gate.Bytes / 4 - columns);
        Type function = typeof(ElementwiseKernels).GetNestedType(activation == Activation.Silu ? "SiluTimes" : "GeluTanhTimes", System.Reflection.BindingFlags.NonPublic)!;
        PtxRun run = Launch(OfflineKernel.Of(typeof(ElementwiseKernels), "Kernel", function), 5, n * segments, 128,
            gate.ViewOf(4), up, y.ViewOf(4), columns, segments, 2 * columns, 2 * columns, columns, 0f, 1);

        Tensor expected = Host.Empty(n, columns);
        Oracle.GatedActivation(Host.Of(x, n, 2 * columns), activation, expected);
        Assert.That(Numbers.Nmse(_memory.Read<float>(y), HostTensors.Values(expected)), Is.LessThan(1e-13));
        Assert.That(run.GlobalLoadSectors, Is.EqualTo(run.GlobalLoadBytes / 32), "every sector is wanted whole");
    }

    [Test]
    public void Gather_WholeQuads_MovesRows()
    {
        const int columns = 24, units = columns / 4;
        float[] x = Numbers.Uniform(5 * columns, seed: 12);
        int[] rows = [4, 0, 4];
        PtxBuffer y = _memory.Allocate(4L * rows.Length * columns);
        Launch(OfflineKernel.Of(typeof(RowKernels), "Kernel", typeof(UInt4)), 6, rows.Length, 128,
            _memory.Allocate(x).ViewOf(1), _memory.Allocate(rows).ViewOf(4), y.ViewOf(1), units, 1, (long)units, (long)units, 1);
        Assert.That(_memory.Read<float>(y), Is.EqualTo(rows.SelectMany(row => x[(row * columns)..((row + 1) * columns)])));
    }

    private PtxRun Launch(OfflineKernel kernel, int seed, int groups, int threads, params object[] arguments)
    {
        PtxModule module = Modules.GetOrAdd(kernel, static one => PtxModule.Parse(one.Ptx));
        PtxRun run = new PtxMachine(_memory, seed).Launch(module, module.Kernels.Single().Name, (groups, 1, 1), (threads, 1, 1), 0, arguments);
        Assert.That(run.DividedUniformBranches, Is.Zero, "a branch that ILGPU marked as uniform parted a warp");
        return run;
    }
}
