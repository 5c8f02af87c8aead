using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cpu;

/// <summary>The fused MLP against its three operations, bit for bit, on every path this machine has.</summary>
[TestFixtureSource(nameof(Paths))]
public sealed class GatedPiecesTests(IsaPath isa)
{
    private const int Hidden = 256;
    private const int Outputs = 48;

    private static IEnumerable<IsaPath> Paths => Isa.Supported;

    [Test]
    public void GatedPieces_OneMatrixOfGateAndUp_EqualsTheThreeOperations([Values] WeightFormat format, [Values] CpuActivations activations) =>
        AssertEqual(activations, Activation.Silu, [(format, 2 * 768)], format, leafColumns: 96, from: 0, to: 8);

    [TestCase(WeightFormat.Q4_K, WeightFormat.Q4_K, WeightFormat.Q6_K, Activation.GeluTanh)]
    [TestCase(WeightFormat.Q8_0, WeightFormat.Q8_0, WeightFormat.BF16, Activation.Silu)]
    [TestCase(WeightFormat.Q4_0, WeightFormat.Q6_K, WeightFormat.Q4_0, Activation.Silu)] // gate and up want different activations: not fused
    public void GatedPieces_TwoMatrices_EqualsTheThreeOperations(WeightFormat gate, WeightFormat up, WeightFormat down, Activation activation) =>
        AssertEqual(CpuActivations.Auto, activation, [(gate, 768), (up, 768)], down, leafColumns: 256, from: 0, to: 3);

    [Test]
    public void GatedPieces_OneRanksLeaves_EqualsTheThreeOperations() =>
        AssertEqual(CpuActivations.Auto, Activation.Silu, [(WeightFormat.Q8_0, 2 * 160)], WeightFormat.Q8_0, leafColumns: 32, from: 3, to: 8);

    [TestCase(2 * 40, 8)] // halves that meet inside a panel, leaves that share a block
    [TestCase(2 * 48, 48)]
    public void GatedPieces_ShapesThatDoNotFit_EqualTheThreeOperations(int outputs, int leafColumns) =>
        AssertEqual(CpuActivations.Auto, Activation.Silu, [(WeightFormat.F16, outputs)], WeightFormat.F16, leafColumns, 0, outputs / 2 / leafColumns);

    private void AssertEqual(
        CpuActivations activations, Activation activation, (WeightFormat Format, int Outputs)[] gateUp, WeightFormat downFormat, int leafColumns, int from, int to)
    {
        int columns = gateUp.Sum(part => part.Outputs) / 2, leafCount = Math.Max(to, 768 / leafColumns);
        int[] boundaries = [.. Enumerable.Range(0, leafCount + 1).Select(leaf => leaf * leafColumns)];
        using CpuBackend backend = new(threads: 2, isa, activations);
        PackedWeight[] parts = [.. gateUp.Select((part, i) => backend.PackWeight(LinearWeights.Random(part.Format, part.Outputs, Hidden, seed: i), InputLeaves.Whole(Hidden)))];
        using PackedWeight down = backend.PackWeight(LinearWeights.Random(downFormat, Outputs, leafCount * leafColumns, seed: 5), LinearTree.Share(boundaries, from, to));
        Assert.That(down.Leaves.Columns, Is.EqualTo(columns));
        foreach (int rows in new[] { 1, 2, 7, 24, 65, 150 })
        {
            long mark = backend.Mark();
            Tensor x = backend.Rent(rows, Hidden), both = backend.Rent(rows, 2 * columns), activated = backend.Rent(rows, columns);
            Tensor expected = backend.Rent(rows * down.Leaves.Pieces, Outputs), actual = backend.Rent(rows * down.Leaves.Pieces, Outputs);
            backend.Upload<float>(Numbers.Uniform(rows * Hidden, seed: rows), x);
            backend.Linear(x, parts, both);
            backend.GatedActivation(both, activation, activated);
            backend.LinearPieces(activated, down, expected);
            backend.GatedPieces(x, parts, activation, down, actual);
            Assert.That(Read(backend, actual), Is.EqualTo(Read(backend, expected)), $"{rows} rows");
            backend.Release(mark);
        }
        foreach (PackedWeight part in parts)
            part.Dispose();
    }

    private static float[] Read(CpuBackend backend, Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        backend.Download(tensor, values.AsSpan());
        return values;
    }
}
