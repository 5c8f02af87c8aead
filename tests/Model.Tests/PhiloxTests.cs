using NUnit.Framework;
using TpServe.Model.Sampling;

namespace TpServe.Model.Tests;

public sealed class PhiloxTests
{
    /// <summary>The known answers of Random123's test vectors.</summary>
    [Test]
    public void Block_KnownCounters_GiveKnownAnswers()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Philox.Block((0, 0, 0, 0), (0, 0)), Is.EqualTo((0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)));
            Assert.That(
                Philox.Block((uint.MaxValue, uint.MaxValue, uint.MaxValue, uint.MaxValue), (uint.MaxValue, uint.MaxValue)),
                Is.EqualTo((0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)));
            Assert.That(
                Philox.Block((0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344), (0xa4093822, 0x299f31d0)),
                Is.EqualTo((0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)));
        });
    }

    [Test]
    public void Uniform_ManyPositions_IsUniform()
    {
        double[] values = [.. Enumerable.Range(0, 10_000).Select(position => Philox.Uniform(3, position, 0))];
        Assert.Multiple(() =>
        {
            Assert.That(values.Min(), Is.GreaterThanOrEqualTo(0));
            Assert.That(values.Max(), Is.LessThan(1));
            Assert.That(values.Average(), Is.EqualTo(0.5).Within(0.02));
            Assert.That(values.Distinct().Count(), Is.EqualTo(values.Length));
        });
    }
}
