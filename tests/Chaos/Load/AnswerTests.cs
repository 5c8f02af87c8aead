using NUnit.Framework;

namespace TpServe.Chaos.Load;

/// <summary>What a run calls wrong, lost and excused.</summary>
public sealed class AnswerTests
{
    private static readonly Answer s_right = Told(transcript =>
    {
        transcript.Add(0, "ab", [1, 2], ["-0.5", "-0.25"]);
        transcript.End(0, "stop");
    });

    private static Answer Told(Action<Transcript> tell)
    {
        Transcript transcript = new(1) { Prompt = "3 tokens" };
        tell(transcript);
        return transcript.Answer();
    }

    [Test]
    public void OfAnswer_TheSame_IsAnswered() => Assert.That(
        Outcome.OfAnswer(s_right, Told(transcript =>
        {
            transcript.Add(0, "a", [1], ["-0.5"]);
            transcript.Add(0, "b", [2], ["-0.25"]);
            transcript.End(0, "stop");
        })).Kind, Is.EqualTo(OutcomeKind.Answered));

    [TestCase("ab", new[] { 1, 3 }, "-0.25", "stop", "tokens 1 3", TestName = "{m}(another token)")]
    [TestCase("ab", new[] { 1, 2, 2 }, "-0.25", "stop", "tokens 1 2 2", TestName = "{m}(a token twice)")]
    [TestCase("ab", new[] { 1 }, "-0.25", "stop", "tokens 1", TestName = "{m}(a token missing)")]
    [TestCase("abb", new[] { 1, 2 }, "-0.25", "stop", "text 'abb'", TestName = "{m}(more text)")]
    [TestCase("ab", new[] { 1, 2 }, "-0.250001", "stop", "-0.250001", TestName = "{m}(another logprob)")]
    [TestCase("ab", new[] { 1, 2 }, "-0.25", "length", "ended by length", TestName = "{m}(another reason)")]
    public void OfAnswer_Another_IsWrongAndSaysWhere(string text, int[] ids, string logprob, string end, string named)
    {
        Outcome outcome = Outcome.OfAnswer(s_right, Told(transcript =>
        {
            transcript.Add(0, text, ids, ["-0.5", logprob]);
            transcript.End(0, end);
        }));
        Assert.That(outcome.Kind, Is.EqualTo(OutcomeKind.Wrong));
        Assert.That(outcome.Detail, Does.Contain(named));
    }

    [Test]
    public void OfAnswer_AnotherPrompt_IsWrong() =>
        Assert.That(Outcome.OfAnswer(s_right, s_right with { Prompt = "4 tokens" }).Kind, Is.EqualTo(OutcomeKind.Wrong));

    [Test]
    public void OfBeginning_MustBeTheBeginning()
    {
        Transcript right = new(1), wrong = new(1);
        right.Add(0, "a", [1], ["-0.5"]);
        wrong.Add(0, "b", [2], ["-0.25"]);
        Assert.That(Outcome.OfBeginning(s_right, right).Kind, Is.EqualTo(OutcomeKind.Left));
        Assert.That(Outcome.OfBeginning(s_right, wrong).Kind, Is.EqualTo(OutcomeKind.Wrong));
    }

    [Test]
    public void Transcript_EventsOutOfOrder_SaysSo()
    {
        Transcript twice = new(1), gap = new(1), after = new(1);
        twice.Count(1);
        twice.Count(1);
        gap.Count(1);
        gap.Count(3);
        after.End(0, "stop");
        after.Add(0, "more", [], []);
        Assert.That(twice.Disorder, Is.EqualTo("event 1 came after event 1"));
        Assert.That(gap.Disorder, Is.EqualTo("event 3 came after event 1"));
        Assert.That(after.Disorder, Is.EqualTo("output 0 goes on after its end"));
    }

    [TestCase("WORKER_LOST", "was lost 4 times", 3, OutcomeKind.TooManyLosses)]
    [TestCase("WORKER_LOST", "was lost 4 times", null, OutcomeKind.TooManyLosses)]
    [TestCase("WORKER_LOST", "was lost 1 times", 0, OutcomeKind.Lost)]
    [TestCase("WORKER_LOST", "was lost 4 times", 1, OutcomeKind.Lost)]
    [TestCase("DEADLINE_EXCEEDED", "", 0, OutcomeKind.Deadline)]
    [TestCase("GROUP_UNAVAILABLE", "the model is gone", 0, OutcomeKind.Refused)]
    [TestCase("POISON_REQUEST", "", 0, OutcomeKind.Suspected)]
    [TestCase("CONNECTION_LOST", "", null, OutcomeKind.Lost)]
    public void OfFailure_OnlyStatedReasonsExcuse(string reason, string message, int? losses, object kind) =>
        Assert.That(Outcome.OfFailure(reason, message, losses).Kind, Is.EqualTo(kind));
}
