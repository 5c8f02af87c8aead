using NUnit.Framework;
using TpServe.Model.Sampling;

namespace TpServe.Model.Tests;

public sealed class StepBatchTests
{
    [Test]
    public void AddSequence_AcrossBlocks_ComputesPositionsAndSlots()
    {
        StepBatch batch = new(blockTokens: 4);
        batch.Clear(step: 7);
        Assert.That(batch.AddSequence([10, 11, 12], startPosition: 3, blockTable: [5, 2]), Is.EqualTo(0));
        Assert.That(batch.AddSequence([20], startPosition: 0, blockTable: [9], longRope: true), Is.EqualTo(3));
        Assert.Multiple(() =>
        {
            Assert.That(batch.Step, Is.EqualTo(7));
            Assert.That(batch.TokenIds.ToArray(), Is.EqualTo(new[] { 10, 11, 12, 20 }));
            Assert.That(batch.Positions.ToArray(), Is.EqualTo(new[] { 3, 4, 5, 0 }));
            Assert.That(batch.Slots.ToArray(), Is.EqualTo(new[] { 23, 8, 9, 36 }));
            Assert.That(batch.SequenceOfRow.ToArray(), Is.EqualTo(new[] { 0, 0, 0, 1 }));
            Assert.That(batch.BlockTable(0).ToArray(), Is.EqualTo(new[] { 5, 2 }));
            Assert.That(batch.BlockTable(1).ToArray(), Is.EqualTo(new[] { 9 }));
            Assert.That((batch.LongRope(0), batch.LongRope(1)), Is.EqualTo((false, true)));
            Assert.That(batch.MostBlocks, Is.EqualTo(2));
            Assert.That(batch.HighestPosition, Is.EqualTo(5));
        });
    }

    [Test]
    public void AddSequence_BlockTableTooShort_Fails()
    {
        StepBatch batch = new(blockTokens: 4);
        Assert.That(() => batch.AddSequence([1], startPosition: 4, blockTable: [0]), Throws.ArgumentException.With.Message.Contains("expected 2 blocks"));
    }

    [Test]
    public void Clear_AfterUse_EmptiesEverything()
    {
        StepBatch batch = new(blockTokens: 4);
        batch.AddSequence([1, 2], 0, [0]);
        batch.Samples.Add(new SampleRow(1, SamplingSettings.Greedy, new int[2], 2, -1));
        batch.PromptLogprobs.Add(new PromptLogprobRow(0, 2, 0));
        batch.Clear(2);
        Assert.Multiple(() =>
        {
            Assert.That(batch.Rows, Is.Zero);
            Assert.That(batch.Sequences, Is.Zero);
            Assert.That(batch.Samples, Is.Empty);
            Assert.That(batch.PromptLogprobs, Is.Empty);
            Assert.That(batch.HighestPosition, Is.EqualTo(-1));
        });
    }
}
