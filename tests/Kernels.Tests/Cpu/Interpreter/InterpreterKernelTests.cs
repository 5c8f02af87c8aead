using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Emit;
using TpServe.Kernels.Cpu.Packing;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Emitted kernels of every family, interpreted: the bits of plain loops on every machine.</summary>
[TestFixture]
public sealed class InterpreterKernelTests
{
    private static readonly IsaPath[] Paths = [IsaPath.Avx2, IsaPath.AvxVnni, IsaPath.Avx512, IsaPath.Avx512Vnni];

    private CpuThreads _threads = null!;

    private static IEnumerable<TestCaseData> FormatsAndPaths =>
        from path in Paths from format in LinearWeights.Layouts select new TestCaseData(path, format);

    [OneTimeSetUp]
    public void StartThreads() => _threads = new CpuThreads(1);

    [OneTimeTearDown]
    public void StopThreads() => _threads.Dispose();

    [TestCaseSource(nameof(FormatsAndPaths))]
    public void Kernel_EveryEntry_SameBitsAsPlainLoops(IsaPath path, WeightFormat format)
    {
        PanelFormat panel = PanelFormat.Of(format);
        int[] boundaries = [0, 256, 300, 512, 520, 768];
        foreach (InputLeaves leaves in new[] { InputLeaves.Whole(256), LinearTree.Share(boundaries, 1, 5) })
        {
            LinearWeights weights = LinearWeights.Random(format, 32, 768, seed: leaves.Count);
            float[] x = Numbers.Uniform(PanelKernel.MostRows * leaves.Columns, seed: 3);
            foreach (bool exact in new[] { false, true })
            {
                foreach (bool bfloats in path == IsaPath.Avx512Vnni && panel.Codes == CodeLayout.BFloat16 ? new[] { false, true } : [true])
                    Compare(path, panel, weights, leaves, x, exact, bfloats);
            }
        }
    }

    private void Compare(IsaPath path, PanelFormat panel, LinearWeights weights, InputLeaves leaves, float[] x, bool exact, bool hasBFloat16)
    {
        InstructionFamily family = InstructionFamily.Of(path)!;
        if (family.IsWide && family.HasVnni)
            family = family with { HasBFloat16 = hasBFloat16 };
        (ActivationKind kind, ActivationKind plainKind) = (exact || panel.Codes is CodeLayout.Float32 or CodeLayout.Float16 or CodeLayout.Float8) ? (ActivationKind.Float32, ActivationKind.Float32)
            : panel.Codes == CodeLayout.BFloat16 ? (family.HasBFloat16 ? ActivationKind.BFloat16 : ActivationKind.RoundedFloat32, ActivationKind.BFloat16)
            : (ActivationKind.Int8, ActivationKind.Int8);
        KernelCode code = KernelCode.Emit(family, panel, kind);
        PlainKernel plain = new(panel, plainKind);
        int outputs = panel.PanelOutputs;
        List<float[]> alone = [];
        for (int row = 0; row < PanelKernel.MostRows; row++)
        {
            using PanelScene scene = new(weights, leaves, x.AsSpan(row * leaves.Columns, leaves.Columns), plain, plainKind, 1, 1, _threads);
            alone.Add(scene.Run());
        }
        for (int groups = 1; groups <= code.Shape.Groups; groups++)
        {
            for (int rows = 1; rows <= code.Shape.Rows; rows++)
            {
                if (code.Entries[KernelCode.Entry(code.Shape, rows, groups)] < 0)
                    continue;
                using InterpretedKernel kernel = new(code, InterpretedKernel.Features(path, hasBFloat16));
                using PanelScene scene = new(weights, leaves, x, kernel, kind, rows, groups, _threads);
                float[] actual = scene.Run();
                for (int piece = 0; piece < leaves.Pieces; piece++)
                {
                    for (int row = 0; row < rows * groups; row++)
                    {
                        int at = ((piece * rows * groups) + row) * outputs;
                        Assert.That(
                            actual.AsSpan(at, outputs).SequenceEqual(alone[row].AsSpan(piece * outputs, outputs)), Is.True,
                            $"{path}, {panel.Format}, {kind}, {rows} rows, {groups} groups, {leaves.Count} leaves, piece {piece}, row {row}");
                    }
                }
            }
        }
    }
}
