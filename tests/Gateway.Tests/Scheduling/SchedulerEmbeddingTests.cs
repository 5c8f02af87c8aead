using NUnit.Framework;
using TpServe.Gateway.Scheduling;
using TpServe.Protos.Worker;
using static TpServe.Gateway.Tests.Scheduling.SchedulerFixture;

namespace TpServe.Gateway.Tests.Scheduling;

/// <summary>Sequences that are embedded: they compute their prompt, sample nothing and end with a vector.</summary>
public sealed class SchedulerEmbeddingTests
{
    private static Scheduler Ready(int queue = 8)
    {
        Scheduler scheduler = new(new SchedulerSettings(MaxStepTokens: 16, ChunkTokens: 4, MaxSequences: 4, queue) { PrefixCache = true });
        scheduler.StartLife(1, kvBlocks: 32, blockTokens: 4);
        return scheduler;
    }

    private static Sequence Embedded(int prompt, Pooling pooling = Pooling.Last, bool sharesPlace = false) => new(Spec(prompt, 0) with { Pooling = pooling, SharesPlace = sharesPlace });

    /// <summary>Runs a step; every sequence that has computed its prompt of so many tokens answers a vector.</summary>
    private static IReadOnlyList<SequenceProgress> Step(Scheduler scheduler, int prompt, bool answers = true)
    {
        StepPlan plan = scheduler.Next()!;
        StepResult result = Answer(plan);
        for (int i = 0; i < plan.Sequences.Count; i++)
            if (answers && plan.Sequences[i].StartPosition + plan.Sequences[i].Tokens == prompt)
                result.Sequences[i].Embedding.Add([1, 2]);
        return scheduler.Apply(result);
    }

    [Test]
    public void Next_SequenceThatIsEmbedded_ComputesItsPromptAndEndsWithItsVector()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Embedded(6));
        Assert.That(Step(scheduler, 6).Single().End, Is.EqualTo(SequenceEnd.None));
        SequenceProgress last = Step(scheduler, 6).Single();
        Assert.That((last.End, last.Tokens.Count), Is.EqualTo((SequenceEnd.Length, 0)));
        Assert.That(last.Embedding, Is.EqualTo(new[] { 1f, 2f }));
        Assert.That((scheduler.Next(), scheduler.UsedBlocks), Is.EqualTo(((StepPlan?)null, 0)));
    }

    [TestCase(Pooling.Last, 8)]
    [TestCase(Pooling.Mean, 0)]
    [TestCase(Pooling.First, 0)]
    public void Admit_SamePromptAgain_SharesBlocksOnlyWhereTheLastStateIsAll(Pooling pooling, int computed)
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Embedded(12, pooling));
        for (int chunk = 0; chunk < 3; chunk++)
            Step(scheduler, 12);
        scheduler.Add(Embedded(12, pooling));
        NewSequence again = scheduler.Next()!.NewSequences.Single();
        Assert.That((again.ComputedTokens, again.Pooling), Is.EqualTo((computed, pooling)));
    }

    [Test]
    public void Apply_NoVector_IsAMismatch()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Embedded(3));
        Assert.Throws<StepMismatchException>(() => Step(scheduler, 3, answers: false));
    }

    [Test]
    public void Add_ManyInputsOfOneRequest_TakeOnePlaceOfTheQueue()
    {
        Scheduler scheduler = Ready(queue: 2);
        scheduler.Add([Embedded(3), .. Enumerable.Range(0, 9).Select(_ => Embedded(3, sharesPlace: true))]);
        Assert.DoesNotThrow(() => scheduler.Add(Sequence(3, 1)));
        Assert.Throws<QueueFullException>(scheduler.RequireRoom);
        while (scheduler.Waiting.Count > 0)
            Step(scheduler, 3);
        Assert.DoesNotThrow(scheduler.RequireRoom);
        Assert.That(scheduler.WaitingTokens, Is.Zero);
    }
}
