using Iced.Intel;
using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Emit;
using TpServe.Kernels.Cpu.Packing;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Emitted kernels, interpreted: the bits of plain loops on every machine, and of the kernel itself where the machine runs it.</summary>
[TestFixture]
public sealed class InterpreterKernelTests
{
    private CpuThreads _threads = null!;

    private static IEnumerable<WeightFormat> Formats => Enum.GetValues<WeightFormat>();

    [OneTimeSetUp]
    public void StartThreads() => _threads = new CpuThreads(1);

    [OneTimeTearDown]
    public void StopThreads() => _threads.Dispose();

    [TestCaseSource(nameof(Formats))]
    public void Kernel_EveryNumberOfRows_SameBitsAsPlainLoopsAndThisMachine(WeightFormat format)
    {
        int[] boundaries = [0, 256, 300, 512, 520, 768];
        foreach (InputLeaves leaves in new[] { InputLeaves.Whole(512), LinearTree.Share(boundaries, 0, 5), LinearTree.Share(boundaries, 1, 5) })
        {
            LinearWeights weights = LinearWeights.Random(format, 32, 768, seed: leaves.Count);
            float[] x = Numbers.Uniform(PanelKernel.MostRows * leaves.Columns, seed: 3);
            for (int rows = 1; rows <= PanelKernel.MostRows; rows++)
                Compare(weights, leaves, x, rows, againstPlainLoops: true);
        }
    }

    [Test]
    public void Kernel_BFloatsOfAnyMagnitude_SameBitsAsThisMachine()
    {
        // Exponents far enough apart that products, sums and inputs go subnormal.
        Random random = new(7);
        byte[] bytes = new byte[32 * 512 * 2];
        for (int i = 0; i < bytes.Length; i += 2)
            BitConverter.TryWriteBytes(bytes.AsSpan(i), (ushort)((random.Next(2) << 15) | (random.Next(0, 90) << 7) | random.Next(128)));
        float[] x = [.. Enumerable.Range(0, 3 * 512).Select(_ => BitConverter.UInt32BitsToSingle(
            ((uint)random.Next(2) << 31) | ((uint)random.Next(0, 130) << 23) | (uint)random.Next(1 << 23)))];
        Compare(new LinearWeights(WeightFormat.BF16, 32, 512, bytes), InputLeaves.Whole(512), x, 3, againstPlainLoops: false);
    }

    [Test]
    public void Kernel_OnACpuWithoutItsFeatures_Fails()
    {
        PanelFormat panel = PanelFormat.Of(WeightFormat.Q4_0);
        (byte[] code, int[] offsets) = EmittedKernel.Emit(panel);
        LinearWeights weights = LinearWeights.Random(WeightFormat.Q4_0, 16, 512, seed: 1);
        using PanelScene scene = new(weights, InputLeaves.Whole(512), Numbers.Uniform(512, seed: 1), 1, _threads);
        using CodeInterpreter interpreter = new(code, HostFeatures.Avx512);
        Assert.That(() => scene.Interpret(interpreter, offsets[1]), Throws.TypeOf<InterpreterFaultException>().With.Message.Contains("AVX512_VNNI"));
    }

    [Test]
    public void Kernel_OfMoreRowsThanTheScene_Fails()
    {
        // The negative control of the ranges: two rows' code on one row's memory.
        (byte[] code, int[] offsets) = EmittedKernel.Emit(PanelFormat.Of(WeightFormat.Q4_0));
        LinearWeights weights = LinearWeights.Random(WeightFormat.Q4_0, 16, 512, seed: 1);
        using PanelScene scene = new(weights, InputLeaves.Whole(512), Numbers.Uniform(512, seed: 1), 1, _threads);
        using CodeInterpreter interpreter = new(code, HostFeatures.Avx512Vnni);
        Assert.That(() => scene.Interpret(interpreter, offsets[2]), Throws.TypeOf<InterpreterFaultException>().With.Message.Contains("is not allowed"));
    }

    private void Compare(LinearWeights weights, InputLeaves leaves, float[] x, int rows, bool againstPlainLoops)
    {
        PanelFormat panel = PanelFormat.Of(weights.Format);
        ActivationLayout layout = ActivationLayout.Of(panel, CpuActivations.Auto);
        (byte[] code, int[] offsets) = EmittedKernel.Emit(panel);
        CpuidFeature[] features = panel.Codes == CodeLayout.BFloat16 ? HostFeatures.Avx512BFloat16 : HostFeatures.Avx512Vnni;
        using PanelScene scene = new(weights, leaves, x, rows, _threads);
        using CodeInterpreter interpreter = new(code, features);
        byte[] interpreted = scene.Interpret(interpreter, offsets[rows]);
        string name = $"{weights.Format}, {rows} rows, {leaves.Count} leaves, {leaves.Pieces} pieces";
        if (HostFeatures.RunsCode && features.All(HostFeatures.Has))
            Assert.That(interpreted, Is.EqualTo(scene.Run(EmittedKernel.Of(panel))), name);
        if (againstPlainLoops)
            Assert.That(interpreted, Is.EqualTo(scene.Run(new BlockKernel<ScalarMath>(panel, layout))), name);
    }
}
