using System.Runtime.Intrinsics;
using NUnit.Framework;
using TpServe.Kernels.Cpu.Ops;

namespace TpServe.Kernels.Tests;

/// <summary>The vector functions against the C library's in float64.</summary>
public sealed class OpsVectorMathTests
{
    [Test]
    public void Exp_WholeRange_IsWithinTwoPartsInTenMillion()
    {
        double worst = 0;
        for (float x = -87.3f; x < 88.3f; x += 0.00371f)
        {
            double expected = Math.Exp(x);
            worst = Math.Max(worst, Math.Abs(VectorMath.Exp(Vector512.Create(x)).ToScalar() - expected) / expected);
        }
        Assert.That(worst, Is.LessThan(2e-7));
    }

    [TestCase(0f, 1f)]
    [TestCase(-87.5f, 0f)]
    [TestCase(float.NegativeInfinity, 0f)]
    [TestCase(float.NaN, float.NaN)]
    public void Exp_SpecialValues_AreExact(float x, float expected) =>
        Assert.That(VectorMath.Exp(Vector512.Create(x)).ToScalar(), Is.EqualTo(expected));

    [Test]
    public void Exp_BeyondTheLargest_StaysFinite() =>
        Assert.That(VectorMath.Exp(Vector512.Create(1e30f)).ToScalar(), Is.InRange(2e38f, float.MaxValue));

    [Test]
    public void Tanh_WholeRange_IsWithinThreePartsInTenMillion()
    {
        double worst = 0;
        for (float x = -12f; x < 12f; x += 0.000731f)
        {
            double expected = Math.Tanh(x);
            worst = Math.Max(worst, Math.Abs(VectorMath.Tanh(Vector512.Create(x)).ToScalar() - expected) / Math.Max(1e-30, Math.Abs(expected)));
        }
        Assert.That(worst, Is.LessThan(3e-7));
    }

    [TestCase(0f, 0f)]
    [TestCase(1e-20f, 1e-20f)]
    [TestCase(100f, 1f)]
    [TestCase(float.NegativeInfinity, -1f)]
    [TestCase(float.NaN, float.NaN)]
    public void Tanh_SpecialValues_AreExact(float x, float expected) =>
        Assert.That(VectorMath.Tanh(Vector512.Create(x)).ToScalar(), Is.EqualTo(expected));

    [Test]
    public void Sum_SixteenLanes_AddsInHalves()
    {
        float[] lanes = Testing.Numbers.Uniform(16, seed: 1);
        float[] expected = lanes;
        for (int half = 8; half > 0; half /= 2)
            expected = [.. Enumerable.Range(0, half).Select(i => expected[i] + expected[i + half])];
        Assert.That(VectorMath.Sum(Vector512.Create(lanes)), Is.EqualTo(expected[0]));
        Assert.That(VectorMath.Max(Vector512.Create(lanes)), Is.EqualTo(lanes.Max()));
    }
}
