using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using NUnit.Framework;
using TpServe.Kernels.Cuda.Ops;
using TpServe.Kernels.Cuda.Sampling;
using TpServe.Kernels.Reference;
using TpServe.Ptx;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>The PTX of the sampler's kernels in an interpreter, which runs warps in random order and looks for races and stray accesses: the oracle's tokens.</summary>
[Parallelizable(ParallelScope.None)]
public sealed class RowSamplerPtxTests
{
    private const int Columns = 4500, Segments = 2;

    private static readonly ConcurrentDictionary<OfflineKernel, PtxModule> Modules = new();
    private readonly PtxMemory _memory = new();

    [TestCase(1)]
    [TestCase(2)]
    public void Draw_MixtureOfSettings_GivesTheOraclesTokens(int seed)
    {
        DrawRows rows = Mixture(seed);
        int m = rows.Count;
        PtxBuffer logits = _memory.Allocate(rows.Logits), parameters = _memory.Allocate(rows.Parameters), edits = _memory.Allocate(rows.Edits), adjusted = _memory.Allocate(4L * m * Columns);
        PtxBuffer keys = _memory.Allocate(8L * m * Segments * 64), values = _memory.Allocate(4L * m * 64), ids = _memory.Allocate(4L * m * 64), chosen = _memory.Allocate(4L * m);
        PtxBuffer bounds = _memory.Allocate(8L * m), sums = _memory.Allocate(8L * m * Segments);
        Launch(typeof(LogitEditKernel), "AdjustKernel", seed, m * Segments, 256, logits.ViewOf(4), edits.ViewOf(4), parameters.ViewOf(4), adjusted.ViewOf(4), Columns, Segments, (long)Columns, (long)Columns);
        Launch(typeof(TopKKernels), "SegmentKernel", seed, m * Segments, 256, adjusted.ViewOf(4), keys.ViewOf(8), Columns, Segments, (long)Columns, 64);
        Launch(typeof(TopKKernels), "MergeKernel", seed, m, 256, adjusted.ViewOf(4), keys.ViewOf(8), values.ViewOf(4), ids.ViewOf(4), Segments * 64, 64, (long)Columns, 64, 64, 0);
        Launch(typeof(CandidateDrawKernel), "DrawKernel", seed, m, 128, values.ViewOf(4), ids.ViewOf(4), parameters.ViewOf(4), chosen.ViewOf(4), 64, 64, 64);
        Launch(typeof(WholeDrawKernels), "BoundKernel", seed, m, 512, adjusted.ViewOf(4), values.ViewOf(4), parameters.ViewOf(4), bounds.ViewOf(8), Columns, (long)Columns, 64);
        Launch(typeof(WholeDrawKernels), "SumKernel", seed, m * Segments, 128, adjusted.ViewOf(4), values.ViewOf(4), parameters.ViewOf(4), bounds.ViewOf(8), sums.ViewOf(8), Columns, Segments, (long)Columns, 64);
        DrawShape shape = new() { Columns = Columns, Segments = Segments, StrideX = Columns, StrideBest = 64, StrideIds = 64 };
        Launch(typeof(WholeDrawKernels), "DrawKernel", seed, m, 128,
            adjusted.ViewOf(4), values.ViewOf(4), ids.ViewOf(4), parameters.ViewOf(4), bounds.ViewOf(8), sums.ViewOf(8), chosen.ViewOf(4), MemoryMarshal.AsBytes(new ReadOnlySpan<DrawShape>(in shape)).ToArray());
        using ReferenceBackend oracle = new();
        Assert.That(_memory.Read<int>(chosen), Is.EqualTo(rows.Draw(oracle)));
    }

    [Test]
    public void Likelihoods_OfChoices_AreTheOracles()
    {
        DrawRows rows = Mixture(seed: 3);
        int[] choices = [.. Enumerable.Range(0, rows.Count).Select(row => row == 1 ? -1 : row * 391)];
        PtxBuffer found = _memory.Allocate(new int[rows.Count * DrawnLikelihood.Words]);
        Launch(typeof(LikelihoodKernel), "FindKernel", 1, rows.Count, 512,
            _memory.Allocate(rows.Logits).ViewOf(4), _memory.Allocate(rows.Parameters).ViewOf(4), _memory.Allocate(choices).ViewOf(4), found.ViewOf(4), Columns, (long)Columns);
        using ReferenceBackend oracle = new();
        DrawnLikelihood[] actual = MemoryMarshal.Cast<int, DrawnLikelihood>(_memory.Read<int>(found)).ToArray(), expected = rows.Likelihoods(oracle, choices);
        Assert.That(actual.Select(each => (each.Rank, each.Logit, each.Largest)), Is.EqualTo(expected.Select(each => (each.Rank, each.Logit, each.Largest))));
        foreach ((DrawnLikelihood own, DrawnLikelihood its) in actual.Zip(expected).Where(pair => pair.Second.Rank > 0))
            Assert.That(own.LogSum, Is.EqualTo(its.LogSum).Within(1e-6));
    }

    private static DrawRows Mixture(int seed)
    {
        DrawRows rows = new(Columns);
        Random random = new(seed);
        LogitEdit[] edits = [new() { TokenId = 9, Add = 4f }, new() { TokenId = 4200, Kind = LogitEdit.Repeats, Subtract = 1f }, new() { TokenId = 77, Kind = LogitEdit.Excludes }];
        foreach ((float temperature, int topK, double topP, float minP) in new[] { (1f, 1, 1d, 0f), (0.9f, 30, 0.9, 0.01f), (1f, 0, 1, 0), (0.7f, 0, 0.9, 0), (1.2f, 200, 0.95, 0.02f), (3f, 0, 0.99, 0), (1f, 500, 1, 0) })
        {
            float[] logits = [.. Numbers.Uniform(Columns, random.Next()).Select(v => 15 * v * MathF.Abs(v))];
            rows.Add(logits, temperature, topK, topP, minP, random.NextDouble(), repetition: 1.3f, restricts: topK == 500, reports: topK != 30, edits: edits);
        }
        rows.Add([.. Enumerable.Repeat(float.NaN, Columns)], topP: 0.9, reports: true);
        return rows;
    }

    private void Launch(Type type, string kernel, int seed, int groups, int threads, params object[] arguments)
    {
        PtxModule module = Modules.GetOrAdd(OfflineKernel.Of(type, kernel), static one => PtxModule.Parse(one.Ptx));
        PtxRun run = new PtxMachine(_memory, seed).Launch(module, module.Kernels.Single().Name, (groups, 1, 1), (threads, 1, 1), 0, arguments);
        Assert.That(run.DividedUniformBranches, Is.Zero, "a branch that ILGPU marked as uniform parted a warp");
    }
}
