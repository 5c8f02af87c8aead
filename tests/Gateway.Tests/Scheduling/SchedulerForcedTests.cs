using Google.Protobuf;
using NUnit.Framework;
using TpServe.Gateway.Scheduling;
using TpServe.Protos.Worker;
using static TpServe.Gateway.Tests.Scheduling.SchedulerFixture;

namespace TpServe.Gateway.Tests.Scheduling;

/// <summary>Tokens that a constraint forces: computed together with the token before them.</summary>
public sealed class SchedulerForcedTests
{
    /// <summary>The text is 40, 41, 42, 43, then anything.</summary>
    private sealed class Opening : ITokenConstraint
    {
        private readonly int[] _opening = [40, 41, 42, 43];
        private int _taken;

        public ByteString Allowed => AllowedAfter(0);

        public ReadOnlySpan<int> Forced => _opening.AsSpan(Math.Min(_taken, 4));

        public bool IsComplete => false;

        public string? Fault { get; private set; }

        public ByteString AllowedAfter(int forced) => ByteString.CopyFrom((byte)(_taken + forced));

        public void Take(int token)
        {
            if (_taken < 4 && token != _opening[_taken])
                Fault = $"{token} in place of {_opening[_taken]}";
            _taken++;
        }
    }

    private static (Scheduler Scheduler, Sequence Sequence) Ready(int maxNew, int stepTokens = 16, int blocks = 32)
    {
        Scheduler scheduler = new(new SchedulerSettings(8, stepTokens, 4, 8));
        scheduler.StartLife(1, blocks, 4);
        Sequence sequence = new(Spec(3, maxNew) with { Constraint = () => new Opening() });
        scheduler.Add(sequence);
        return (scheduler, sequence);
    }

    private static string Step(Scheduler scheduler, params int[] tokens)
    {
        StepPlan plan = scheduler.Next()!;
        StepResult answer = Answer(plan);
        answer.Sequences[0].TokenIds.Clear();
        answer.Sequences[0].TokenIds.Add(tokens);
        string rows = $"{Rows(plan)} {plan.Sequences[0].Allowed[0]}{(plan.Sequences[0].Forced ? " forced" : "")}";
        scheduler.Apply(answer);
        return rows;
    }

    [Test]
    public void Next_ForcedTokens_AreComputedInOneStepWithTheMaskAfterThem()
    {
        (Scheduler scheduler, Sequence sequence) = Ready(maxNew: 10);
        Assert.That(Step(scheduler, 40), Is.EqualTo("1:0+3! 0"), "the prompt's step samples the first of them");
        Assert.That(Step(scheduler, 41, 42, 43, 7), Is.EqualTo("1:3+1!?3 4 forced"));
        Assert.That(Step(scheduler, 8), Is.EqualTo("1:7+1! 5"));
        Assert.That(sequence.Tokens.Skip(3), Is.EqualTo(new[] { 40, 41, 42, 43, 7, 8 }));
        Assert.That((sequence.Computed, scheduler.DraftTokens), Is.EqualTo((8, (0L, 0L))), "they are no guesses");
    }

    [TestCase(3, "1:3+1!?1 2 forced", new[] { 41, 42 }, Description = "the output may have three tokens")]
    [TestCase(2, "1:3+1! 1", new[] { 41 }, Description = "none beyond the row itself")]
    public void Next_LessRoomThanForced_TakesWhatFitsAndTheSameTokensCome(int maxNew, string rows, int[] tokens)
    {
        (Scheduler scheduler, Sequence sequence) = Ready(maxNew);
        Step(scheduler, 40);
        Assert.That(Step(scheduler, tokens), Is.EqualTo(rows));
        Assert.That(sequence.State, Is.EqualTo(SequenceState.Finished));
    }

    [Test]
    public void Next_WhileTheTokenBeforeIsSampled_LetsTheMaskFollowAndTakesWhatIsForcedAfterIt()
    {
        (Scheduler scheduler, Sequence sequence) = Ready(maxNew: 10);
        StepPlan prompt = scheduler.Next()!, forced = scheduler.Next()!;
        Assert.That((Rows(prompt), Rows(forced)), Is.EqualTo(("1:0+3!", "1:3+1!?3")), "40 is sampled, and can be no other");
        Assert.That((forced.Sequences[0].Forced, forced.Sequences[0].Allowed[0], forced.Sequences[0].AllowedFollows), Is.EqualTo((true, 4, false)));
        scheduler.Apply(Answer(prompt, _ => 40));
        Assert.That(scheduler.FollowingMasks(), Is.Null, "all is known of the step in flight");

        StepPlan free = scheduler.Next()!;
        Assert.That((Rows(free), free.Sequences[0].Allowed.Length, free.Sequences[0].AllowedFollows), Is.EqualTo(("1:7+1!", 0, true)), "the token after the forced ones is being sampled");
        StepResult answer = Answer(forced);
        answer.Sequences[0].TokenIds.Clear();
        answer.Sequences[0].TokenIds.Add([41, 42, 43, 7]);
        scheduler.Apply(answer);
        TokenMask mask = scheduler.FollowingMasks()!.Masks.Single();
        Assert.That((mask.SequenceId, mask.Allowed[0]), Is.EqualTo((1ul, 5)));
        scheduler.Apply(Answer(free, _ => 8));
        Assert.That((sequence.Tokens.Skip(3), sequence.Computed), Is.EqualTo((new[] { 40, 41, 42, 43, 7, 8 }, 8)));
    }

    [Test]
    public void FollowingMasks_SequenceThatHasEnded_HasNone()
    {
        (Scheduler scheduler, Sequence sequence) = Ready(maxNew: 10);
        Step(scheduler, 40);
        Step(scheduler, 41, 42, 43, 7);
        StepPlan last = scheduler.Next()!, next = scheduler.Next()!;
        Assert.That(next.Sequences[0].AllowedFollows, Is.True);
        scheduler.Abort(sequence);
        scheduler.Apply(Answer(last));
        Assert.That(scheduler.FollowingMasks()!.Masks, Is.Empty, "the rank that waits is told so");
    }

    [Test]
    public void Apply_AnotherTokenThanForced_FaultsTheSequence()
    {
        (Scheduler scheduler, Sequence sequence) = Ready(maxNew: 10);
        Step(scheduler, 40);
        StepPlan plan = scheduler.Next()!;
        StepResult answer = Answer(plan); // 7
        SequenceProgress progress = scheduler.Apply(answer).Single();
        Assert.That((progress.End, sequence.State), Is.EqualTo((SequenceEnd.Fault, SequenceState.Finished)));
        Assert.That(progress.Fault, Does.Contain("7 in place of 41"));
    }
}
