using NUnit.Framework;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;

namespace TpServe.Model.Tests;

/// <summary>NaN and infinity stay in the sequence that they arise in: neither its neighbours in a step nor who takes its blocks over meets them.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class NotFiniteTests
{
    private const string Q8 = "cpu q8 cache"; // for heads of blocks of 32

    private static readonly (string Name, RankSetup Setup)[] Setups =
    [
        .. Enum.GetValues<IsaPath>().Where(path => path.IsSupported()).Select(path => (
            $"cpu {path.Name()}", RankSetup.CpuDefault with { Backend = () => new CpuBackend(threads: 1, path) })),
        ("cpu float32", RankSetup.CpuFloat32),
        ("cpu bfloat16 cache", RankSetup.CpuDefault with { KvType = ElementType.BFloat16 }),
        (Q8, RankSetup.CpuDefault with { KvType = ElementType.Q8 }),
        ("cpu blocks of 12", RankSetup.CpuDefault with { BlockTokens = 12 }),
        ("reference", RankSetup.Reference),
    ];

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach ((string setup, _) in Setups)
            foreach (string model in setup == Q8 ? new[] { "llama-q8_0" } : ["llama", "llama-q8_0", "gemma2"])
                yield return new TestCaseData(setup, model, 1);
        foreach (string model in OddModels.Names)
            yield return new TestCaseData(Setups[0].Name, model, 2);
    }

    [TestCaseSource(nameof(Cases))]
    public void Slots_HoldingNaN_ReachNobody(string setup, string model, int degree)
    {
        RankSetup clean = Find(setup);
        using RandomCheckpoint checkpoint = OddModels.Create(model);
        string[] expected = BadSequences.Texts(checkpoint, clean, degree, BadSequences.Good);
        Assert.That(BadSequences.Texts(checkpoint, clean with { StaleNaN = true }, degree, BadSequences.Good), Is.EqualTo(expected));
    }

    [TestCaseSource(nameof(Cases))]
    public void Sequences_ThatBecomeNaN_EndAlone(string setup, string model, int degree) => BadSequences.EndAlone(Find(setup), model, degree, BadSequences.Good, BadSequences.Bad);

    [TestCase(1)]
    [TestCase(2)]
    [NonParallelizable]
    public void Sequences_ThatBecomeNaN_EndAloneOnTheEmulatedGpu(int degree) => BadSequences.ShortOnesEndAlone(RankSetup.CudaEmulated, degree);

    private static RankSetup Find(string name) => Setups.Single(setup => setup.Name == name).Setup;
}
