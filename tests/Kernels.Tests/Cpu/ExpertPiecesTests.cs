using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cpu;

/// <summary>The experts' products against one expert, one row and one operation at a time, bit for bit, on every path this machine has.</summary>
[TestFixtureSource(nameof(Paths))]
public sealed class ExpertPiecesTests(IsaPath isa)
{
    private const int Hidden = 256;
    private const int Experts = 6;
    private const int PerRow = 3;

    private static IEnumerable<IsaPath> Paths => Isa.Supported;

    [TestCase(WeightFormat.Q4_K, WeightFormat.Q4_K, WeightFormat.Q6_K, 256, 64)]
    [TestCase(WeightFormat.Q8_0, WeightFormat.Q8_0, WeightFormat.Q8_0, 160, 64)] // a ragged last leaf
    [TestCase(WeightFormat.Q4_0, WeightFormat.Q6_K, WeightFormat.Q4_0, 96, 96)] // gate and up want different activations; one leaf
    [TestCase(WeightFormat.BF16, WeightFormat.BF16, WeightFormat.BF16, 88, 24)] // leaves that end inside a block, outputs inside a panel
    [TestCase(WeightFormat.F32, WeightFormat.F16, WeightFormat.F32, 50, 20)]
    public void Pieces_AnyFormatsAndRows_EqualsOneExpertAfterTheOther(WeightFormat gate, WeightFormat up, WeightFormat down, int columns, int leafColumns) =>
        AssertEqual(gate, up, down, columns, leafColumns, leaves => (0, leaves));

    [TestCase(1, 4)]
    [TestCase(2, 5)]
    public void Pieces_OneRanksLeaves_EqualsOneExpertAfterTheOther(int from, int to) =>
        AssertEqual(WeightFormat.Q8_0, WeightFormat.Q8_0, WeightFormat.Q4_0, 320, 64, _ => (from, to));

    [Test]
    public void Pieces_AnyThreads_SameBits()
    {
        float[] expected = Run(1);
        foreach (int threads in new[] { 2, 3 })
            Assert.That(Run(threads), Is.EqualTo(expected), $"{threads} threads");

        float[] Run(int threads)
        {
            using CpuBackend backend = new(threads, isa);
            using ExpertScene scene = new(backend, WeightFormat.Q4_K, WeightFormat.Q4_K, WeightFormat.Q6_K, 256, 64, leaves => (0, leaves), Experts, PerRow, Hidden);
            return scene.Pieces(scene.Rows(200));
        }
    }

    private void AssertEqual(WeightFormat gate, WeightFormat up, WeightFormat down, int columns, int leafColumns, Func<int, (int, int)> share)
    {
        using CpuBackend backend = new(threads: 2, isa);
        using ExpertScene scene = new(backend, gate, up, down, columns, leafColumns, share, Experts, PerRow, Hidden);
        ExpertRow[] rows = scene.Rows(150);
        float[][] alone = [.. rows.Select(scene.OneByOne)];
        foreach (int count in new[] { 1, 2, 7, 65, 150 })
            Assert.That(scene.Pieces(rows[..count]), Is.EqualTo(scene.Joined(alone[..count])), $"{count} rows");
    }
}
