using NUnit.Framework;
using TpServe.Kernels.Cuda.Ops;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>The kernels' exponential functions against the library's, by the managed bodies of their instructions.</summary>
public sealed class ExponentialsTests
{
    private static readonly float[] Range = [.. Enumerable.Range(-8700, 17500).Select(i => i / 100f)];

    [Test]
    public void Exp_WholeRange_IsWithinAFewUnitsInTheLastPlace() =>
        Assert.That(Range.Max(x => Math.Abs(Exponentials.Exp(x) / Math.Exp(x) - 1)), Is.LessThan(2e-7));

    [TestCase(0f, 1f)]
    [TestCase(88.8f, float.PositiveInfinity)]
    [TestCase(float.PositiveInfinity, float.PositiveInfinity)]
    [TestCase(-87.4f, 0f)]
    [TestCase(float.NegativeInfinity, 0f)]
    [TestCase(float.NaN, float.NaN)]
    public void Exp_AtTheEnds_IsExact(float x, float expected) => Assert.That(Exponentials.Exp(x), Is.EqualTo(expected));

    [Test]
    public void Tanh_WholeRange_IsWithinAFewUnitsInTheLastPlace() =>
        Assert.That(Range.Where(x => x != 0).Max(x => Math.Abs(Exponentials.Tanh(x / 10) / Math.Tanh(x / 10) - 1)), Is.LessThan(3e-7));

    [Test]
    public void Tanh_OfANegativeNumber_IsTheNegative() =>
        Assert.That(Range.Select(x => Exponentials.Tanh(-x)), Is.EqualTo(Range.Select(x => -Exponentials.Tanh(x))));
}
