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
        scheduler.Add(Sequence(1, prompt: 6, maxNew: 3));
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
        scheduler.Add(Sequence(1, prompt: 2, maxNew: 9));
        Step(scheduler);
        scheduler.Add(Sequence(2, prompt: 6, maxNew: 1));
        scheduler.Add(Sequence(3, prompt: 6, maxNew: 1));
        Assert.That(Step(scheduler), Is.EqualTo("1:2+1! 2:0+4 3:0+3"), "8 tokens a step, 4 a chunk");
        Assert.That(Step(scheduler), Is.EqualTo("1:3+1! 2:4+2! 3:3+3!"));
    }

    [Test]
    public void Next_FirstComeDoesNotFit_NobodyOvertakes()
    {
        Scheduler scheduler = Ready(blocks: 4); // 16 tokens
        scheduler.Add(Sequence(1, prompt: 4, maxNew: 6)); // 3 blocks
        scheduler.Add(Sequence(2, prompt: 4, maxNew: 5)); // 2 blocks: must wait
        scheduler.Add(Sequence(3, prompt: 1, maxNew: 1)); // 1 block: would fit
        Assert.That(Step(scheduler), Is.EqualTo("1:0+4!"));
        Assert.That(scheduler.Waiting.Select(waiting => waiting.Id.Value), Is.EqualTo(new ulong[] { 2, 3 }));
    }

    [Test]
    public void Next_Admission_SendsAllBlocksOnceAndAnnouncesTheSequence()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(1, prompt: 6, maxNew: 4)); // 9 computed tokens: 3 blocks
        StepPlan first = scheduler.Next()!;
        Assert.That(first.NewSequences.Single().TokenIds, Is.EqualTo(new[] { 1, 2, 3, 4, 5, 6 }));
        Assert.That(first.NewSequences.Single().Sampling.PromptTokens, Is.EqualTo(6));
        Assert.That(first.Sequences.Single().NewBlocks, Is.Unique.And.Count.EqualTo(3));
        scheduler.Apply(Answer(first));
        StepPlan second = scheduler.Next()!;
        Assert.That(second.NewSequences, Is.Empty);
        Assert.That(second.Sequences.Single().NewBlocks, Is.Empty);
        Assert.That((first.Step, second.Step), Is.EqualTo((1L, 2L)));
    }

    [Test]
    public void Apply_EndToken_EndsAndTheNextPlanForgetsIt()
    {
        Scheduler scheduler = Ready();
        Sequence ends = Sequence(1, prompt: 2, maxNew: 9, endTokens: 5);
        scheduler.Add(ends);
        StepPlan plan = scheduler.Next()!;
        SequenceProgress progress = scheduler.Apply(Answer(plan, _ => 5)).Single();
        Assert.That((progress.Token, progress.End, progress.ComputedPromptTokens), Is.EqualTo((5, SequenceEnd.EndToken, 2)));
        Assert.That(ends.Generated, Is.EqualTo(new[] { 5 }));
        scheduler.Add(Sequence(2, prompt: 2, maxNew: 1));
        Assert.That(scheduler.Next()!.Finished, Is.EqualTo(new ulong[] { 1 }));
    }

    [Test]
    public void Apply_NoNewTokensAllowed_EndsWithThePrompt()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(1, prompt: 3, maxNew: 0));
        StepPlan plan = scheduler.Next()!;
        Assert.That(plan.Sequences.Single().Sample, Is.False);
        SequenceProgress progress = scheduler.Apply(Answer(plan)).Single();
        Assert.That((progress.Token, progress.End), Is.EqualTo(((int?)null, SequenceEnd.Length)));
    }

    [Test]
    public void Abort_WhileItsStepRuns_FreesBlocksAndDropsItsResult()
    {
        Scheduler scheduler = Ready();
        Sequence gone = Sequence(1, prompt: 2, maxNew: 9), stays = Sequence(2, prompt: 2, maxNew: 9);
        scheduler.Add(gone);
        scheduler.Add(stays);
        StepPlan plan = scheduler.Next()!;
        Assert.That(scheduler.Abort(gone), Is.True);
        Assert.That(scheduler.Abort(gone), Is.False);
        Assert.That(scheduler.Apply(Answer(plan)).Single().Sequence, Is.SameAs(stays));
        Assert.That(gone.Generated, Is.Empty);
        Assert.That(scheduler.Next()!.Finished, Is.EqualTo(new ulong[] { 1 }));
    }

    [Test]
    public void Next_BeforeApply_PlansFromWhatIsPlanned()
    {
        Scheduler scheduler = Ready();
        scheduler.Add(Sequence(1, prompt: 5, maxNew: 2));
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
        scheduler.Add(Sequence(1, 1, 1));
        scheduler.Add(Sequence(2, 1, 1));
        Assert.That(() => scheduler.Add(Sequence(3, 1, 1)), Throws.TypeOf<QueueFullException>().With.Property("Limit").EqualTo(2));
    }

    [Test]
    public void EndLife_RunningAndWaiting_RunningAreLostAndTheQueueRunsInTheNextLifeFromStepOne()
    {
        Scheduler scheduler = Ready(sequences: 1);
        Sequence runs = Sequence(1, 2, 9), waits = Sequence(2, 2, 9);
        scheduler.Add(runs);
        scheduler.Add(waits);
        scheduler.Next();
        Assert.That(scheduler.EndLife(), Is.EqualTo(new[] { runs }));
        Assert.That(scheduler.Next(), Is.Null, "there is no group");
        Assert.That(scheduler.StartLife(2, 16, 4), Is.Empty);
        StepPlan plan = scheduler.Next()!;
        Assert.That((plan.Epoch, plan.Step, Rows(plan)), Is.EqualTo((2L, 1L, "2:0+2!")));
        Assert.That(plan.Finished, Is.Empty, "the new workers never knew sequence 1");
    }

    [Test]
    public void StartLife_SmallerCache_WaitingThatCanNeverFitAreReturned()
    {
        Scheduler scheduler = new(new SchedulerSettings(8, 4, 4, 8));
        Sequence large = Sequence(1, 20, 1), small = Sequence(2, 2, 1);
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
        scheduler.Add(Sequence(1, 1, 9));
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
        scheduler.Add(Sequence(1, 1, 9));
        StepResult answer = Answer(scheduler.Next()!);
        answer.Sequences[0].ClearTokenId();
        Assert.That(() => scheduler.Apply(answer), Throws.TypeOf<StepMismatchException>().With.Message.Contains("sequence 1"));
    }
}
