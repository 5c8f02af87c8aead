using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Model.Layers;

namespace TpServe.Model.Tests;

/// <summary>Rotary tables against the formulas in float64; llama3, linear and yarn are also covered by golden models.</summary>
public sealed class RotaryTableTests
{
    private static readonly RopeConfig Plain = new() { Theta = 10000, RotaryDim = 8 };

    [Test]
    public void Build_Plain_IsCosThenSin()
    {
        float[] table = RotaryTable.Build(Plain, maxPositions: 64, positions: 20);
        Assert.That(table, Has.Length.EqualTo(20 * 8));
        for (int position = 0; position < 20; position++)
            for (int pair = 0; pair < 4; pair++)
            {
                double angle = position * Math.Pow(10000, -pair / 4.0);
                Assert.That(table[position * 8 + pair], Is.EqualTo(Math.Cos(angle)).Within(1e-6));
                Assert.That(table[position * 8 + 4 + pair], Is.EqualTo(Math.Sin(angle)).Within(1e-6));
            }
    }

    [Test]
    public void Build_Factors_DividesEachFrequency()
    {
        RopeConfig rope = Plain with { Scaling = RopeScaling.Factors, ShortFactors = [1, 2, 4, 8] };
        float[] table = RotaryTable.Build(rope, 64, 20), plain = RotaryTable.Build(Plain, 64, 20);
        Assert.That(table[16 * 8], Is.EqualTo(plain[16 * 8]));
        Assert.That(table[19 * 8 + 4 + 3], Is.EqualTo(Math.Sin(19 * 1e-3 / 8)).Within(1e-7));
    }

    [Test]
    public void Build_YarnWithMscales_ScalesByTheirRatio()
    {
        RopeConfig rope = Plain with { Scaling = RopeScaling.Yarn, Factor = 4, OriginalMaxPositions = 64, Mscale = 2, MscaleAllDim = 1 };
        double expected = (0.2 * Math.Log(4) + 1) / (0.1 * Math.Log(4) + 1);
        Assert.That(RotaryTable.Build(rope, 256, 1)[0], Is.EqualTo(expected).Within(1e-6));
        Assert.That(RotaryTable.Build(rope with { AttentionFactor = 1.5f }, 256, 1)[0], Is.EqualTo(1.5f));
        Assert.That(RotaryTable.Build(rope with { Mscale = 0 }, 256, 1)[0], Is.EqualTo(0.1 * Math.Log(4) + 1).Within(1e-6));
    }

    [Test]
    public void Build_LongRope_HoldsBothTablesWithTheAttentionFactor()
    {
        RopeConfig rope = LongRope();
        float[] table = RotaryTable.Build(rope, maxPositions: 256, positions: 100);
        double factor = Math.Sqrt(1 + Math.Log(4) / Math.Log(64));
        Assert.That(table, Has.Length.EqualTo(2 * 100 * 8));
        for (int pair = 0; pair < 4; pair++)
        {
            double frequency = Math.Pow(10000, -pair / 4.0);
            Assert.That(table[90 * 8 + pair], Is.EqualTo(factor * Math.Cos(90 * frequency / rope.ShortFactors[pair])).Within(2e-5));
            Assert.That(table[(100 + 90) * 8 + pair], Is.EqualTo(factor * Math.Cos(90 * frequency / rope.LongFactors[pair])).Within(2e-5));
        }
    }

    [TestCase(10, false, ExpectedResult = 10)]
    [TestCase(10, true, ExpectedResult = 110, Description = "long factors from the first token on")]
    [TestCase(64, true, ExpectedResult = 164)]
    public int Row_LongRope_TakesTheFactorsOfTheWholeSequence(int position, bool longRope) => RotaryTable.Row(LongRope(), 100, position, longRope);

    [Test]
    public void Row_OtherScalings_IsThePosition() =>
        Assert.That(RotaryTable.Row(Plain, 100, 90, longRope: true), Is.EqualTo(90));

    [Test]
    public void Build_WrongNumberOfFactors_Fails() =>
        Assert.That(
            () => RotaryTable.Build(LongRope() with { LongFactors = [1, 2] }, 256, 10),
            Throws.TypeOf<ModelLoadException>().With.Message.Contains("expected 4 numbers in long_factor, found 2"));

    private static RopeConfig LongRope() => Plain with
    {
        Scaling = RopeScaling.LongRope,
        OriginalMaxPositions = 64,
        ShortFactors = [1f, 1.5f, 2f, 2.5f],
        LongFactors = [1f, 4f, 8f, 16f],
    };
}
