using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Reference;
using TpServe.Kernels.Tests.Cpu;
using TpServe.Testing;

namespace TpServe.Kernels.Tests;

/// <summary>The CPU's experts against the reference's loops, in float32, with every activation and biases.</summary>
public sealed class ExpertOracleTests
{
    private const int Hidden = 96;
    private const int Columns = 88;

    [TestCase(Activation.Silu, 0f)]
    [TestCase(Activation.GeluTanh, 0f)]
    [TestCase(Activation.Silu, 1.702f)]
    public void ExpertPieces_WithBiases_MatchesTheReference(Activation function, float alpha)
    {
        float[] expected = Run(new ReferenceBackend()), actual = Run(new CpuBackend(threads: 2, activations: CpuActivations.Float32));
        Assert.That(Numbers.Nmse(actual, expected), Is.LessThan(1e-10));

        float[] Run(ITensorBackend backend)
        {
            using ITensorBackend owned = backend;
            using ExpertScene scene = new(backend, WeightFormat.F32, WeightFormat.F32, WeightFormat.F32, Columns, 24, leaves => (0, leaves), 5, 2, Hidden);
            ExpertStack stack = scene.Mlp.Routed with { GateBias = Bias(1, Columns), UpBias = Bias(2, Columns), DownBias = Bias(3, Hidden) };
            ExpertMlp mlp = scene.Mlp with { Routed = stack, Activation = new ExpertActivation(function, alpha, alpha > 0 ? 0.3f : 0f) };
            return scene.Pieces(scene.Rows(40), mlp);

            Tensor Bias(int seed, int outputs)
            {
                Tensor bias = backend.Rent(5, ExpertStack.Stride(outputs));
                backend.Upload<float>(Numbers.Uniform(5 * ExpertStack.Stride(outputs), seed), bias);
                return bias;
            }
        }
    }
}
