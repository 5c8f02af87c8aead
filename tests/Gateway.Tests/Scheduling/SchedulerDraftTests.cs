using NUnit.Framework;
using TpServe.Gateway.Scheduling;
using TpServe.Protos.Worker;
using static TpServe.Gateway.Tests.Scheduling.SchedulerFixture;

namespace TpServe.Gateway.Tests.Scheduling;

/// <summary>The draft model in the plans: when it is asked, how far it may go, what becomes of its guesses.</summary>
public sealed class SchedulerDraftTests
{
    private const int BlockTokens = 4;

    private static Scheduler Ready(int maxTokens = 100, int blocks = 32)
    {
        Scheduler scheduler = new(new SchedulerSettings(32, 32, 4, 8) { Draft = new DraftSettings(maxTokens, 16) });
        scheduler.StartLife(1, blocks, BlockTokens);
        return scheduler;
    }

    private static Sequence Guessed(int prompt, int maxNew, bool looksUp = false) => new(Spec(prompt, maxNew) with { DraftTokens = 8, LooksUp = looksUp });

    /// <summary>An answer on a machine where the draft costs a tenth of the model; so many guesses of each sequence are right.</summary>
    private static StepResult Timed(StepPlan plan, int right = 0)
    {
        StepResult answer = Answer(plan);
        foreach ((SequenceStep rows, SequenceResult result) in plan.Sequences.Zip(answer.Sequences))
            for (int guess = 0; guess < Math.Min(right, rows.DraftTokens + rows.DraftIds.Count); guess++)
                result.TokenIds.Add(100 + guess);
        int passes = plan.Sequences.Max(rows => rows.DraftTokens);
        answer.DraftMicroseconds = 100 * passes;
        answer.DraftRows = passes * plan.Sequences.Count(rows => rows.DraftTokens > 0);
        answer.StepMicroseconds = 1000 + answer.DraftMicroseconds;
        return answer;
    }

    private static string Step(Scheduler scheduler, int right = 0)
    {
        StepPlan? plan = scheduler.Next();
        if (plan is not null)
            scheduler.Apply(Timed(plan, right));
        return Rows(plan);
    }

    [Test]
    public void Next_DraftThatPays_GuessesAfterAPlainStepAndMovesOnByWhatWasRight()
    {
        Scheduler scheduler = Ready();
        Sequence sequence = Guessed(prompt: 5, maxNew: 40);
        scheduler.Add(sequence);
        StepPlan first = scheduler.Next()!;
        Assert.That(first.NewSequences.Single().Drafts, Is.True);
        scheduler.Apply(Timed(first));
        Assert.That(Step(scheduler), Is.EqualTo("1:5+1!"), "what a plain step takes is not known");
        StepPlan plan = scheduler.Next()!;
        Assert.That(Rows(plan), Is.EqualTo("1:6+1!~4"));
        Assert.That(scheduler.Next(), Is.Null, "where the next row begins is not known");
        SequenceProgress progress = scheduler.Apply(Timed(plan, right: 2)).Single();
        Assert.That(progress.Tokens, Has.Count.EqualTo(3));
        Assert.That((sequence.Computed, sequence.Known, scheduler.DraftTokens), Is.EqualTo((9, 10, (4L, 2L))));
        Assert.That(Rows(scheduler.Next()), Does.StartWith("1:9+1!~"));
    }

    [Test]
    public void Next_SampleUnderWay_IsGuessedBehindAllTheSame()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Guessed(prompt: 5, maxNew: 40));
        Step(scheduler);
        Step(scheduler);
        scheduler.Add(Guessed(prompt: 3, maxNew: 40));
        Assert.That(Rows(scheduler.Next()), Is.EqualTo("1:6+1!~4 2:0+3!"));
        Assert.That(Rows(scheduler.Next()), Is.EqualTo("nothing"), "the second waits, so that both share the draft's passes from then on");
    }

    [Test]
    public void Next_GuessesUnderWay_WhoGuessesNothingWaitsForTheNextStepAndPromptsStayShort()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Guessed(prompt: 5, maxNew: 40));
        scheduler.Add(Sequence(prompt: 5, maxNew: 40));
        Step(scheduler);
        Step(scheduler);
        StepPlan both = scheduler.Next()!;
        Assert.That(Rows(both), Is.EqualTo("1:6+1!~4 2:6+1!"));
        Assert.That(Rows(scheduler.Next()), Is.EqualTo("nothing"));
        scheduler.Add(Sequence(prompt: 20, maxNew: 4));
        Assert.That(Rows(scheduler.Next(catchUpTokens: 3)), Is.EqualTo("3:4+3"), "beside streams that flow; its first block is theirs");
        scheduler.Apply(Timed(both, right: 1));
        Assert.That(Rows(scheduler.Next(catchUpTokens: 8)), Does.StartWith("1:8+1!~").And.Contain("2:7+1!").And.Contain("3:7+"));
    }

    [Test]
    public void Next_MoreThanIsWantedOrTheDraftHolds_GuessesNoFurther()
    {
        Scheduler scheduler = Ready(maxTokens: 9);
        scheduler.Add(Guessed(prompt: 5, maxNew: 40));
        Step(scheduler);
        Step(scheduler);
        Assert.That(Step(scheduler, right: 2), Is.EqualTo("1:6+1!~3"), "tokens 7 to 9 are the last that the draft computes one after");
        Assert.That(Step(scheduler), Is.EqualTo("1:9+1!"));

        scheduler = Ready();
        scheduler.Add(Guessed(prompt: 5, maxNew: 4));
        Step(scheduler);
        Step(scheduler);
        Assert.That(Step(scheduler), Is.EqualTo("1:6+1!~1"), "two tokens are wanted still");
    }

    [Test]
    public void Next_LogThatRepeatsItself_IsLookedUpFirstWhereTheRequestAsks([Values] bool looksUp)
    {
        Scheduler scheduler = Ready();
        scheduler.Add(new Sequence(Spec(3, 40) with { Prompt = [7, 7, 7, 7], DraftTokens = 4, LooksUp = looksUp }));
        Step(scheduler);
        if (!looksUp)
            Step(scheduler);
        Assert.That(Step(scheduler), Is.EqualTo(looksUp ? "1:4+1!?4" : "1:5+1!~4"));
    }

    [Test]
    public void Next_RequestWantsNoGuesses_IsLeftAlone()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(prompt: 5, maxNew: 9));
        StepPlan first = scheduler.Next()!;
        Assert.That(first.NewSequences.Single().Drafts, Is.False);
        scheduler.Apply(Timed(first));
        Assert.That(Enumerable.Range(0, 4).Select(_ => Step(scheduler)), Has.All.Not.Contains("~"));
    }

    [Test]
    public void Next_CacheFull_GuessesOnlyIntoTheBlocksThereAre()
    {
        Scheduler scheduler = Ready(blocks: 2);
        scheduler.Add(Guessed(prompt: 4, maxNew: 5));
        Step(scheduler);
        Step(scheduler);
        Assert.That(Step(scheduler), Is.EqualTo("1:5+1!~2"), "its 8 tokens are all that it may have");
    }

    [Test]
    public void Apply_MoreTokensThanWereAsked_IsAMismatch()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Guessed(prompt: 5, maxNew: 40));
        Step(scheduler);
        Step(scheduler);
        StepResult answer = Timed(scheduler.Next()!, right: 4);
        answer.Sequences[0].TokenIds.Add(9);
        Assert.Throws<StepMismatchException>(() => scheduler.Apply(answer));
    }
}
