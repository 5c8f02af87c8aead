using NUnit.Framework;
using TpServe.Gateway.Scheduling;
using TpServe.Protos.Worker;
using static TpServe.Gateway.Tests.Scheduling.SchedulerFixture;

namespace TpServe.Gateway.Tests.Scheduling;

public sealed class SchedulerTests
{
    private static Scheduler Ready(int stepTokens = 8, int chunk = 4, int sequences = 4, int queue = 8, int blocks = 16, int blockTokens = 4)
    {
        Scheduler scheduler = new(new SchedulerSettings(stepTokens, chunk, sequences, queue));
        scheduler.StartLife(1, blocks, blockTokens);
        return scheduler;
    }

    private static string Step(Scheduler scheduler, Func<ulong, int>? token = null)
    {
        StepPlan? plan = scheduler.Next();
        if (plan is not null)
            scheduler.Apply(Answer(plan, token));
        return Rows(plan);
    }

    [Test]
    public void Next_OneSequence_ChunksThePromptThenDecodesToItsLength()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(prompt: 6, maxNew: 3));
        Assert.That(Step(scheduler), Is.EqualTo("1:0+4"));
        Assert.That(Step(scheduler), Is.EqualTo("1:4+2!"));
        Assert.That(Step(scheduler), Is.EqualTo("1:6+1!"));
        Assert.That(Step(scheduler), Is.EqualTo("1:7+1!"));
        Assert.That(Step(scheduler), Is.EqualTo("nothing"));
        Assert.That(scheduler.UsedBlocks, Is.Zero);
    }

    [Test]
    public void Next_DecodeAndPrompts_DecodeRowsComeFirst()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(prompt: 2, maxNew: 9));
        Step(scheduler);
        scheduler.Add(Sequence(prompt: 6, maxNew: 1));
        scheduler.Add(Sequence(prompt: 6, maxNew: 1));
        Assert.That(Step(scheduler), Is.EqualTo("1:2+1! 2:0+4 3:0+3"), "8 tokens a step, 4 a chunk");
        Assert.That(Step(scheduler), Is.EqualTo("1:3+1! 2:4+2! 3:3+3!"));
    }

    [Test]
    public void Next_FirstComeDoesNotFit_NobodyOvertakes()
    {
        Scheduler scheduler = Ready(blocks: 4); // 16 tokens
        Sequence large = Sequence(prompt: 12, maxNew: 1), small = Sequence(prompt: 1, maxNew: 1);
        scheduler.Add(Sequence(prompt: 8, maxNew: 1)); // 2 blocks
        scheduler.Add(large); // 3 blocks: must wait
        scheduler.Add(small); // 1 block: would fit
        Assert.That(Step(scheduler), Is.EqualTo("1:0+4"));
        Assert.That(scheduler.Waiting, Is.EqualTo(new[] { large, small }));
    }

    [Test]
    public void Next_GrowingSequence_TakesABlockWhenItNeedsIt()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(prompt: 3, maxNew: 4));
        StepPlan first = scheduler.Next()!;
        Assert.That(first.NewSequences.Single().TokenIds, Is.EqualTo(new[] { 1, 2, 3 }));
        Assert.That(first.NewSequences.Single().Sampling.PromptTokens, Is.EqualTo(3));
        Assert.That(first.Sequences.Single().NewBlocks, Has.Count.EqualTo(1));
        StepPlan second = scheduler.Next()!, third = scheduler.Next()!;
        Assert.That(second.NewSequences, Is.Empty);
        Assert.That((second.Sequences.Single().NewBlocks.Count, third.Sequences.Single().NewBlocks.Count), Is.EqualTo((0, 1)), "position 3 lies in the first block, position 4 does not");
        Assert.That((first.Step, second.Step, third.Step), Is.EqualTo((1L, 2L, 3L)));
    }

    [Test]
    public void Next_BlocksRunOut_TheLastInOrderGivesWayAndGoesOnLaterUnderANewName()
    {
        Scheduler scheduler = Ready(stepTokens: 16, chunk: 8, blocks: 4);
        Sequence first = Sequence(prompt: 7, maxNew: 8), last = new(Spec(7, 3) with { Prompt = [9, 9, 9, 9, 9, 9, 9] });
        scheduler.Add(first);
        scheduler.Add(last);
        Assert.That(Step(scheduler), Is.EqualTo("1:0+7! 2:0+7!"));
        Assert.That(Step(scheduler), Is.EqualTo("1:7+1! 2:7+1!"));
        Assert.That(Step(scheduler), Is.EqualTo("1:8+1!"), "it grows into a third block, which the other gives up");
        Assert.That((last.State, last.GeneratedTokens, scheduler.Preemptions), Is.EqualTo((SequenceState.Waiting, 2, 1L)));
        for (int step = 0; step < 5; step++)
            Step(scheduler);
        Assert.That(first.State, Is.EqualTo(SequenceState.Finished));
        StepPlan again = scheduler.Next()!;
        Assert.That(again.NewSequences.Single().TokenIds, Is.EqualTo(new[] { 9, 9, 9, 9, 9, 9, 9, 7, 7 }), "prompt and what it had generated");
        Assert.That(Rows(again), Is.EqualTo("3:0+8"), "its blocks went to the first");
    }

    [Test]
    public void Next_MoreUrgentWaits_TakesThePlaceOfTheLessUrgent()
    {
        Scheduler scheduler = Ready(sequences: 1);
        Sequence slow = new(Spec(4, 9)), urgent = new(Spec(4, 1) with { Priority = 1 });
        scheduler.Add(slow);
        Step(scheduler);
        scheduler.Add(urgent);
        Assert.That(Step(scheduler), Is.EqualTo("2:0+4!"));
        Assert.That(slow.State, Is.EqualTo(SequenceState.Waiting));
        Assert.That(Step(scheduler), Is.EqualTo("3:4+1!").Or.EqualTo("3:0+4"));
        Assert.That(slow.State, Is.EqualTo(SequenceState.Running));
    }

    [Test]
    public void Next_EqualBeginnings_TheSecondFindsFullBlocksAndComputesTheRest()
    {
        Scheduler scheduler = Ready(chunk: 8);
        scheduler.Add(Sequence(prompt: 8, maxNew: 1));
        Step(scheduler);
        Sequence second = Sequence(prompt: 8, maxNew: 1), third = new(Spec(8, 1) with { BypassCache = true }), salted = new(Spec(8, 1) with { CacheSalt = "s" });
        scheduler.Add(second);
        Assert.That(Step(scheduler), Is.EqualTo("2:4+4!"), "the last token's row is needed: one block of two");
        Assert.That((second.CachedTokens, scheduler.CacheTokens), Is.EqualTo((4, (16L, 4L))));
        scheduler.Add(third);
        Assert.That(Step(scheduler), Is.EqualTo("3:0+8!"));
        scheduler.Add(salted);
        Assert.That(Step(scheduler), Is.EqualTo("4:0+8!"));
        scheduler.FlushCache();
        scheduler.Add(Sequence(prompt: 8, maxNew: 1));
        Assert.That(Step(scheduler), Is.EqualTo("5:0+8!"));
    }

    [Test]
    public void Next_PromptLogprobsWanted_ThePromptIsComputedWhole()
    {
        Scheduler scheduler = Ready(chunk: 8);
        scheduler.Add(Sequence(prompt: 8, maxNew: 1));
        Step(scheduler);
        scheduler.Add(new Sequence(Spec(8, 1) with { PromptLogprobs = 0 }));
        Assert.That(Rows(scheduler.Next()), Is.EqualTo("2:0+8!"));
    }

    [Test]
    public void Next_OutputsOfOneRequest_ShareThePromptAndPartInACopy()
    {
        Scheduler scheduler = Ready(chunk: 8);
        Sequence leader = Sequence(prompt: 6, maxNew: 4), other = new(Spec(6, 4), leader);
        scheduler.Add(leader, other);
        Assert.That(Step(scheduler), Is.EqualTo("1:0+6!"), "the other waits for the prompt");
        StepPlan plan = scheduler.Next()!;
        Assert.That(Rows(plan), Is.EqualTo("1:6+1! 2:5+1!"));
        Assert.That(plan.NewSequences.Single().ComputedTokens, Is.EqualTo(5));
        Assert.That(other.Blocks[0], Is.EqualTo(leader.Blocks[0]), "a full block is shared");
        Assert.That(plan.Copies.Single(), Is.EqualTo(new BlockCopy { Source = leader.Blocks[1].Value, Destination = other.Blocks[1].Value }));
        Assert.That(scheduler.UsedBlocks, Is.EqualTo(3));
    }

    [Test]
    public void Next_OneCatchesUpBesideDecoding_ChunkKeepsToItsShare()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(prompt: 2, maxNew: 9));
        scheduler.Next(catchUpTokens: 2);
        scheduler.Add(Sequence(prompt: 8, maxNew: 1));
        Assert.That(Rows(scheduler.Next(catchUpTokens: 2)), Is.EqualTo("1:2+1! 2:0+2"));
        Assert.That(Rows(scheduler.Next(catchUpTokens: 3)), Is.EqualTo("1:3+1! 2:2+3"));
    }

    [Test]
    public void Next_LongRopeBorderCrossed_ComputesTheWholeSequenceAnew()
    {
        Scheduler scheduler = new(new SchedulerSettings(8, 8, 4, 8) { LongRopeBeyond = 6 });
        scheduler.StartLife(1, 16, 4);
        scheduler.Add(Sequence(prompt: 5, maxNew: 4));
        StepPlan first = scheduler.Next()!, second = scheduler.Next()!;
        Assert.That((Rows(first), Rows(second)), Is.EqualTo(("1:0+5!", "1:5+1!")));
        Assert.That(first.NewSequences.Single().LongRope, Is.False);
        Assert.That(scheduler.Next(), Is.Null, "the log must be whole before it is announced again");
        scheduler.Apply(Answer(first));
        scheduler.Apply(Answer(second));
        StepPlan anew = scheduler.Next()!;
        Assert.That((Rows(anew), anew.NewSequences.Single().LongRope, anew.Finished.Single()), Is.EqualTo(("2:0+7!", true, 1UL)));
        scheduler.Apply(Answer(anew));
        Assert.That(Step(scheduler), Is.EqualTo("2:7+1!"), "it crosses once");
    }

    [Test]
    public void Next_PromptBeyondLongRopeBorder_IsLongFromTheStartAndSharesNothingWithShortOnes()
    {
        Scheduler scheduler = new(new SchedulerSettings(16, 16, 4, 8) { LongRopeBeyond = 8 });
        scheduler.StartLife(1, 16, 4);
        scheduler.Add(Sequence(prompt: 8, maxNew: 1));
        Step(scheduler);
        scheduler.Add(Sequence(prompt: 9, maxNew: 1));
        StepPlan plan = scheduler.Next()!;
        Assert.That((Rows(plan), plan.NewSequences.Single().LongRope), Is.EqualTo(("2:0+9!", true)));
    }

    [Test]
    public void Next_LogThatRepeatsItself_GuessesWhatFollowedAndMovesOnByWhatWasRight()
    {
        Scheduler scheduler = Ready(stepTokens: 16, blocks: 32);
        Sequence sequence = new(Spec(3, 20) with { Prompt = [7, 7, 7, 7], DraftTokens = 4 });
        scheduler.Add(sequence);
        Step(scheduler);
        StepPlan plan = scheduler.Next()!;
        Assert.That(Rows(plan), Is.EqualTo("1:4+1!?4"));
        Assert.That(plan.Sequences.Single().DraftIds, Is.EqualTo(new[] { 7, 7, 7, 7 }));
        Assert.That(scheduler.Next(), Is.Null, "where the next row begins is not known");
        StepResult answer = Answer(plan);
        answer.Sequences[0].TokenIds.Add([7, 9]); // two guesses were right
        SequenceProgress progress = scheduler.Apply(answer).Single();
        Assert.That(progress.Tokens, Is.EqualTo(new[] { 7, 7, 9 }));
        Assert.That((sequence.Computed, sequence.Known, scheduler.DraftTokens), Is.EqualTo((7, 8, (4L, 2L))));
        Assert.That(Rows(scheduler.Next()), Does.StartWith("1:7+1!"));
    }

    [Test]
    public void Apply_EndTokenAmongGuesses_IsTheLast()
    {
        Scheduler scheduler = Ready(stepTokens: 16);
        Sequence sequence = new(Spec(3, 20) with { Prompt = [7, 7, 7, 7], DraftTokens = 4, EndTokens = new HashSet<int> { 9 } });
        scheduler.Add(sequence);
        Step(scheduler);
        StepPlan plan = scheduler.Next()!;
        StepResult answer = Answer(plan, _ => 9);
        answer.Sequences[0].TokenIds.Add(9);
        SequenceProgress progress = scheduler.Apply(answer).Single();
        Assert.That((progress.Tokens.Single(), progress.End, scheduler.UsedBlocks), Is.EqualTo((9, SequenceEnd.EndToken, 0)));
    }

    [Test]
    public void Apply_FaultOfOne_EndsItAlone()
    {
        Scheduler scheduler = Ready();
        Sequence bad = Sequence(2, 9), good = Sequence(2, 9);
        scheduler.Add(bad);
        scheduler.Add(good);
        StepResult answer = Answer(scheduler.Next()!);
        answer.Sequences[0].Fault = "not finite";
        IReadOnlyList<SequenceProgress> progress = scheduler.Apply(answer);
        Assert.That((progress[0].End, progress[0].Fault, progress[0].Tokens.Count), Is.EqualTo((SequenceEnd.Fault, "not finite", 0)));
        Assert.That((bad.State, good.State, good.GeneratedTokens), Is.EqualTo((SequenceState.Finished, SequenceState.Running, 1)));
    }

    [Test]
    public void Suspend_ThenResume_GoesOnWithItsLog()
    {
        Scheduler scheduler = Ready(chunk: 8);
        Sequence sequence = Sequence(prompt: 4, maxNew: 4);
        scheduler.Add(sequence);
        Step(scheduler);
        scheduler.Suspend(sequence);
        Assert.That((scheduler.UsedBlocks, Step(scheduler)), Is.EqualTo((0, "nothing")));
        scheduler.Resume(sequence);
        Assert.That(scheduler.Next()!.NewSequences.Single().TokenIds, Is.EqualTo(new[] { 1, 2, 3, 4, 7 }));
    }

    [Test]
    public void Apply_EndToken_EndsAndTheNextPlanForgetsIt()
    {
        Scheduler scheduler = Ready();
        Sequence ends = Sequence(prompt: 2, maxNew: 9, endTokens: 5);
        scheduler.Add(ends);
        StepPlan plan = scheduler.Next()!;
        SequenceProgress progress = scheduler.Apply(Answer(plan, _ => 5)).Single();
        Assert.That((progress.Tokens.Single(), progress.End, progress.ComputedPromptTokens), Is.EqualTo((5, SequenceEnd.EndToken, 2)));
        Assert.That(ends.Tokens, Is.EqualTo(new[] { 1, 2, 5 }));
        scheduler.Add(Sequence(prompt: 2, maxNew: 1));
        Assert.That(scheduler.Next()!.Finished, Is.EqualTo(new ulong[] { 1 }));
    }

    [Test]
    public void Apply_NoNewTokensAllowed_EndsWithThePrompt()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(prompt: 3, maxNew: 0));
        StepPlan plan = scheduler.Next()!;
        Assert.That(plan.Sequences.Single().Sample, Is.False);
        SequenceProgress progress = scheduler.Apply(Answer(plan)).Single();
        Assert.That((progress.Tokens.Count, progress.End), Is.EqualTo((0, SequenceEnd.Length)));
    }

    [Test]
    public void Abort_WhileItsStepRuns_FreesBlocksAndDropsItsResult()
    {
        Scheduler scheduler = Ready();
        Sequence gone = Sequence(prompt: 2, maxNew: 9), stays = Sequence(prompt: 2, maxNew: 9);
        scheduler.Add(gone);
        scheduler.Add(stays);
        StepPlan plan = scheduler.Next()!;
        Assert.That(scheduler.Abort(gone), Is.True);
        Assert.That(scheduler.Abort(gone), Is.False);
        Assert.That(scheduler.Apply(Answer(plan)).Single().Sequence, Is.SameAs(stays));
        Assert.That(gone.GeneratedTokens, Is.Zero);
        Assert.That(scheduler.Next()!.Finished, Is.EqualTo(new ulong[] { 1 }));
    }

    [Test]
    public void Next_BeforeApply_PlansFromWhatIsPlanned()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(prompt: 5, maxNew: 2));
        StepPlan first = scheduler.Next()!, second = scheduler.Next()!, third = scheduler.Next()!;
        Assert.That(new[] { Rows(first), Rows(second), Rows(third) }, Is.EqualTo(new[] { "1:0+4", "1:4+1!", "1:5+1!" }));
        Assert.That(scheduler.Next(), Is.Null, "both its tokens are planned");
        scheduler.Apply(Answer(first));
        scheduler.Apply(Answer(second));
        Assert.That(scheduler.Apply(Answer(third)).Single().End, Is.EqualTo(SequenceEnd.Length));
    }

    [Test]
    public void Add_QueueFull_RefusesWithTheLimit()
    {
        Scheduler scheduler = new(new SchedulerSettings(8, 4, 4, QueueLimit: 2));
        scheduler.Add(Sequence(1, 1));
        scheduler.Add(Sequence(1, 1));
        Assert.That(() => scheduler.Add(Sequence(1, 1)), Throws.TypeOf<QueueFullException>().With.Property("Limit").EqualTo(2));
    }

    [Test]
    public void EndLife_RunningAndWaiting_AllGoOnInTheNextLifeInTheirOrder()
    {
        Scheduler scheduler = Ready(sequences: 1);
        Sequence runs = Sequence(2, 9), waits = Sequence(2, 9);
        scheduler.Add(runs);
        scheduler.Add(waits);
        Step(scheduler);
        scheduler.Next();
        Assert.That(scheduler.EndLife(), Is.EqualTo(new[] { runs }));
        Assert.That(scheduler.Next(), Is.Null, "there is no group");
        Assert.That(scheduler.Waiting, Is.EqualTo(new[] { runs, waits }));
        Assert.That(scheduler.StartLife(2, 16, 4), Is.Empty);
        StepPlan plan = scheduler.Next()!;
        Assert.That((plan.Epoch, plan.Step, Rows(plan)), Is.EqualTo((2L, 1L, "2:0+3!")));
        Assert.That(plan.NewSequences.Single().TokenIds, Is.EqualTo(new[] { 1, 2, 7 }));
        Assert.That(plan.Finished, Is.Empty, "the new workers never knew sequence 1");
    }

    [Test]
    public void EndLife_MidPrompt_ReportsEachPromptTokenOnce()
    {
        Scheduler scheduler = Ready();
        Sequence sequence = new(Spec(6, 1) with { PromptLogprobs = 0 });
        scheduler.Add(sequence);
        Assert.That(Reported(scheduler.Next()!), Is.EqualTo(4));
        scheduler.EndLife();
        scheduler.StartLife(2, 16, 4);
        Assert.That(Reported(scheduler.Next()!), Is.Zero, "the same four again");
        Assert.That(Reported(scheduler.Next()!), Is.EqualTo(2));

        int Reported(StepPlan plan)
        {
            StepResult answer = Answer(plan);
            for (int i = 0; i < plan.Sequences[0].Tokens; i++)
                answer.Sequences[0].PromptLogprobs.Add(new TokenLogprobs());
            return scheduler.Apply(answer).Single().PromptLogprobs.Count;
        }
    }

    [Test]
    public void Suspect_SeveralCaught_BeginOneAtATimeUntilEachHasComeFurther()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(2, 9));
        scheduler.Add(Sequence(2, 9));
        scheduler.Next();
        Scheduler.Suspect(scheduler.EndLife());
        scheduler.StartLife(2, 16, 4);
        Assert.That(Step(scheduler), Is.EqualTo("3:0+2!"));
        Assert.That(Step(scheduler), Is.EqualTo("3:2+1! 4:0+2!"));
    }

    [Test]
    public void StartLife_SmallerCache_WaitingThatCanNeverFitAreReturned()
    {
        Scheduler scheduler = new(new SchedulerSettings(8, 4, 4, 8));
        Sequence large = Sequence(20, 1), small = Sequence(2, 1);
        scheduler.Add(large);
        scheduler.Add(small);
        Assert.That(scheduler.StartLife(1, 4, 4), Is.EqualTo(new[] { large }));
        Assert.That(scheduler.Waiting, Is.EqualTo(new[] { small }));
        Assert.That(scheduler.CanEverFit(large), Is.False);
    }

    [TestCase(1, 2, 1)]
    [TestCase(2, 1, 1)]
    [TestCase(1, 1, 2)]
    public void Apply_AnswerToAnotherStep_Throws(long epoch, long step, int rows)
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(1, 9));
        StepResult answer = Answer(scheduler.Next()!);
        answer.Epoch = epoch;
        answer.Step = step;
        while (answer.Sequences.Count < rows)
            answer.Sequences.Add(new SequenceResult { SequenceId = 99 });
        Assert.That(() => scheduler.Apply(answer), Throws.TypeOf<StepMismatchException>());
    }

    [Test]
    public void Apply_SampledTokenMissing_Throws()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(1, 9));
        StepResult answer = Answer(scheduler.Next()!);
        answer.Sequences[0].TokenIds.Clear();
        Assert.That(() => scheduler.Apply(answer), Throws.TypeOf<StepMismatchException>().With.Message.Contains("sequence 1"));
    }
}
