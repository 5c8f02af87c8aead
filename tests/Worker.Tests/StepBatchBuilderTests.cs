using NUnit.Framework;
using TpServe.Model;
using TpServe.Protos.Worker;

namespace TpServe.Worker.Tests;

public sealed class StepBatchBuilderTests
{
    private const int BlockTokens = 4;

    private static StepBatchBuilder Builder() => new(epoch: 7, BlockTokens);

    private static NewSequence Sequence(ulong id, int tokens, int promptLogprobs = -1) => new()
    {
        SequenceId = id,
        TokenIds = { Enumerable.Range(100, tokens) },
        Sampling = new SamplingParameters { PromptTokens = tokens, TopP = 1, RepetitionPenalty = 1 },
        TopLogprobs = -1,
        PromptLogprobs = promptLogprobs,
    };

    private static SequenceStep Rows(ulong id, int start, int tokens, bool sample, params int[] blocks) =>
        new() { SequenceId = id, StartPosition = start, Tokens = tokens, Sample = sample, NewBlocks = { blocks } };

    [Test]
    public void Lay_ChunkOfAPrompt_PutsTokensAtTheirPositionsAndSlots()
    {
        StepBatchBuilder builder = Builder();
        StepPlan first = new() { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 6) }, Sequences = { Rows(1, 0, 4, false, 9) } };
        StepBatch batch = builder.Lay(first);
        Assert.That(batch.TokenIds.ToArray(), Is.EqualTo(new[] { 100, 101, 102, 103 }));
        Assert.That(batch.Slots.ToArray(), Is.EqualTo(new[] { 36, 37, 38, 39 }));
        builder.Conclude(first, new StepOutput(), reports: false);

        batch = builder.Lay(new StepPlan { Epoch = 7, Step = 2, Sequences = { Rows(1, 4, 2, true, 2) } });
        Assert.That(batch.Positions.ToArray(), Is.EqualTo(new[] { 4, 5 }));
        Assert.That(batch.Slots.ToArray(), Is.EqualTo(new[] { 8, 9 }));
        Assert.That(batch.Samples.Single().Row, Is.EqualTo(1));
        Assert.That(batch.Samples.Single().Tokens.Length, Is.EqualTo(6));
    }

    [Test]
    public void Lay_PromptLogprobs_AsksEachRowAboutTheTokenAfterIt()
    {
        StepBatch batch = Builder().Lay(new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3, promptLogprobs: 2) }, Sequences = { Rows(1, 0, 3, true, 0) } });
        Assert.That(batch.PromptLogprobs.Select(row => (row.Row, row.TokenId)), Is.EqualTo(new[] { (0, 101), (1, 102) }));
    }

    [TestCase(Pooling.Last, new int[0], new[] { 1 })]
    [TestCase(Pooling.Mean, new[] { 0, 1, 2, 3 }, new[] { 0, 1 })]
    [TestCase(Pooling.First, new[] { 0 }, new int[0])]
    public void Lay_SequenceThatIsEmbedded_PoolsItsRowsAndAnswersWithTheLast(Pooling pooling, int[] first, int[] second)
    {
        StepBatchBuilder builder = Builder();
        NewSequence sequence = Sequence(1, 6);
        sequence.Pooling = pooling;
        StepPlan[] plans =
        [
            new() { Epoch = 7, Step = 1, NewSequences = { sequence }, Sequences = { Rows(1, 0, 4, false, 9) } },
            new() { Epoch = 7, Step = 2, Sequences = { Rows(1, 4, 2, false, 2) } },
        ];
        float expected = 0;
        foreach ((StepPlan plan, int[] rows) in plans.Zip(new[] { first, second }))
        {
            StepBatch batch = builder.Lay(plan);
            Assert.That(batch.Pooled.Select(row => row.Row), Is.EqualTo(rows));
            foreach (PooledRow row in batch.Pooled)
            {
                row.Into.Add([batch.Positions[row.Row], 1]);
                expected += batch.Positions[row.Row] / (pooling == Pooling.Mean ? 6f : 1f);
            }
            float[] vector = [.. builder.Conclude(plan, new StepOutput(), reports: true).Sequences.Single().Embedding];
            Assert.That(vector, plan.Step == 1 ? Is.Empty : Is.EqualTo(new[] { expected, 1 }));
        }
    }

    [Test]
    public void Conclude_HiddenStateNotFinite_FaultsTheSequence()
    {
        StepBatchBuilder builder = Builder();
        NewSequence sequence = Sequence(1, 3);
        sequence.Pooling = Pooling.Last;
        StepPlan plan = new() { Epoch = 7, Step = 1, NewSequences = { sequence }, Sequences = { Rows(1, 0, 3, false, 0) } };
        builder.Lay(plan).Pooled.Single().Into.Add([1, float.NaN]);
        SequenceResult result = builder.Conclude(plan, new StepOutput(), reports: true).Sequences.Single();
        Assert.That((result.Fault, result.Embedding.Count), Is.EqualTo(("the hidden states are not finite", 0)));
    }

    private static IEnumerable<TestCaseData> Mismatches()
    {
        yield return new TestCaseData(new StepPlan { Epoch = 7, Step = 1, NewSequences = { new NewSequence(Sequence(1, 3)) { Pooling = Pooling.Last } }, Sequences = { Rows(1, 0, 3, true, 0) } }, "is embedded");
        yield return new TestCaseData(new StepPlan { Epoch = 8, Step = 1 }, "epoch 8");
        yield return new TestCaseData(new StepPlan { Epoch = 7, Step = 2 }, "step 2");
        yield return new TestCaseData(new StepPlan { Epoch = 7, Step = 1, Sequences = { Rows(5, 0, 1, true) } }, "sequence 5");
        yield return new TestCaseData(new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) }, Sequences = { Rows(1, 2, 1, true, 0) } }, "starts at 2");
        yield return new TestCaseData(new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) }, Sequences = { Rows(1, 0, 4, true, 0) } }, "computes 4 tokens");
        yield return new TestCaseData(new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3), Sequence(1, 3) } }, "new twice");
        yield return new TestCaseData(
            new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) }, Sequences = { new SequenceStep(Rows(1, 0, 2, false, 0)) { Allowed = Google.Protobuf.ByteString.CopyFrom(1) } } }, "chooses none");
        yield return new TestCaseData(
            new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) }, Sequences = { new SequenceStep(Rows(1, 0, 3, true, 0)) { Allowed = Google.Protobuf.ByteString.CopyFrom(1), DraftIds = { 4 } } } }, "guesses");
        yield return new TestCaseData(
            new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) }, Sequences = { new SequenceStep(Rows(1, 0, 3, true, 0)) { Forced = true } } }, "forced to 0 tokens");
        yield return new TestCaseData(
            new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) }, Sequences = { new SequenceStep(Rows(1, 0, 3, false, 0)) { AllowedFollows = true } } }, "is to be told which tokens it may choose, and chooses none");
    }

    [TestCaseSource(nameof(Mismatches))]
    public void Lay_PlanThatDoesNotFit_NamesWhatDiffers(StepPlan plan, string named)
    {
        PlanMismatchException? fault = Assert.Throws<PlanMismatchException>(() => Builder().Lay(plan));
        Assert.That(fault!.Message, Does.Contain(named));
    }

    [Test]
    public void Lay_AllowedTokens_ReachTheRowThatIsSampled()
    {
        StepPlan plan = new() { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3), Sequence(2, 2) }, Sequences = { new SequenceStep(Rows(1, 0, 3, true, 0)) { Allowed = Google.Protobuf.ByteString.CopyFrom(6, 1) }, Rows(2, 0, 2, true, 1) } };
        StepBatch batch = Builder().Lay(plan);
        Assert.That(batch.Samples.Select(row => row.Allowed.ToArray()), Is.EqualTo(new[] { new byte[] { 6, 1 }, [] }));
    }

    [Test]
    public async Task Lay_MasksThatFollow_AreWaitedForAndReachTheirRows()
    {
        MaskInbox inbox = new(() => TimeSpan.FromSeconds(30));
        StepBatchBuilder builder = new(epoch: 7, blockTokens: 4, draft: null, inbox);
        SequenceStep Follows(ulong id, int tokens) => new(Rows(id, 0, tokens, true, (int)id)) { AllowedFollows = true };
        StepBatch batch = builder.Lay(new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3), Sequence(2, 2) }, Sequences = { Follows(1, 3), Follows(2, 2) } });
        Assert.That(batch.Samples.Select(row => (row.IsMasked, row.AdjustsLogits)), Is.All.EqualTo((true, true)), "the logits come whole, whatever follows");
        Task waits = Task.Run(batch.AwaitMasks!);
        inbox.Post(new StepMasks { Epoch = 7, Step = 1, Masks = { new TokenMask { SequenceId = 2, Allowed = Google.Protobuf.ByteString.CopyFrom(6, 1) } } });
        await waits.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.That(batch.Samples.Select(row => row.Allowed.ToArray()), Is.EqualTo((byte[][])[[], [6, 1]]), "the first has ended meanwhile");
    }

    [Test]
    public void AwaitMasks_NoneComesOrAnothersOrTheEpochEnds_SaysWhich()
    {
        MaskInbox late = new(() => TimeSpan.FromMilliseconds(1)), other = new(() => TimeSpan.FromSeconds(30)), closed = new(() => TimeSpan.FromSeconds(30));
        other.Post(new StepMasks { Epoch = 7, Step = 4 });
        closed.Close("a peer is gone");
        Assert.That(Assert.Throws<PlanMismatchException>(() => late.Take(7, 5))!.Message, Is.EqualTo("what step 5 may choose has not come within 0.001 s."));
        Assert.That(Assert.Throws<PlanMismatchException>(() => other.Take(7, 5))!.Message, Does.Contain("step 4 of epoch 7"));
        Assert.That(Assert.Throws<TpServe.Collectives.RevokedException>(() => closed.Take(7, 5))!.Message, Does.Contain("a peer is gone"));
    }

    [Test]
    public void Lay_ForcedTokens_LeaveEachRowNoChoiceButTheLast()
    {
        SequenceStep rows = new(Rows(1, 0, 3, true, 0, 1)) { Forced = true, DraftIds = { 9, 3 }, Allowed = Google.Protobuf.ByteString.CopyFrom(6, 1) };
        StepPlan plan = new() { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) }, Sequences = { rows } };
        StepBatchBuilder builder = Builder();
        StepBatch batch = builder.Lay(plan);
        Assert.That(batch.TokenIds.ToArray(), Is.EqualTo(new[] { 100, 101, 102, 9, 3 }));
        Assert.That(batch.Samples.Select(row => (row.Only, row.Allowed.Length)), Is.EqualTo(new (int?, int)[] { (9, 0), (3, 0), (null, 2) }));
        Assert.That(builder.Conclude(plan, Output(9, 3, 8), reports: true).Sequences.Single().TokenIds, Is.EqualTo(new[] { 9, 3, 8 }));
    }

    [Test]
    public void Lay_FinishedSequence_IsForgottenAndItsIdMayBeUsedAgain()
    {
        StepBatchBuilder builder = Builder();
        builder.Lay(new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) } });
        Assert.DoesNotThrow(() => builder.Lay(new StepPlan { Epoch = 7, Step = 2, Finished = { 1 }, NewSequences = { Sequence(1, 2) } }));
    }

    /// <summary>What a model answers: the chosen token of each sample.</summary>
    private static StepOutput Output(params int[] chosen)
    {
        StepOutput output = new();
        chosen.CopyTo(output.Reset(chosen.Length));
        return output;
    }

    [Test]
    public void Lay_SequenceComputedInPart_BeginsBehindItInTheBlocksItsFirstStepBrings()
    {
        NewSequence sequence = Sequence(1, 7);
        sequence.ComputedTokens = 4;
        StepPlan plan = new() { Epoch = 7, Step = 1, NewSequences = { sequence }, Sequences = { Rows(1, 4, 3, true, 9, 2) }, Copies = { new BlockCopy { Source = 5, Destination = 2 } } };
        StepBatch batch = Builder().Lay(plan);
        Assert.That(batch.TokenIds.ToArray(), Is.EqualTo(new[] { 104, 105, 106 }));
        Assert.That(batch.Slots.ToArray(), Is.EqualTo(new[] { 8, 9, 10 }));
        Assert.That(batch.BlockTable(0).ToArray(), Is.EqualTo(new[] { 9, 2 }));
        Assert.That(batch.Copies, Is.EqualTo(new[] { (5, 2) }));
    }

    [TestCase(new[] { 7, 8, 9 }, new[] { 7, 8, 9 }, 5, Description = "both guesses were right")]
    [TestCase(new[] { 7, 4, 9 }, new[] { 7, 4 }, 4, Description = "the second was wrong")]
    [TestCase(new[] { 5, 8, 9 }, new[] { 5 }, 3, Description = "the first was wrong: what came after it never was")]
    public void Conclude_Guesses_AreTakenWhileTheyEqualWhatWasSampled(int[] chosen, int[] taken, int computed)
    {
        StepBatchBuilder builder = Builder();
        SequenceStep rows = Rows(1, 0, 3, true, 0, 1);
        rows.DraftIds.Add([7, 8]);
        StepPlan plan = new() { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) }, Sequences = { rows } };
        StepBatch batch = builder.Lay(plan);
        Assert.That(batch.TokenIds.ToArray(), Is.EqualTo(new[] { 100, 101, 102, 7, 8 }));
        Assert.That(batch.Samples.Select(sample => (sample.Row, sample.Tokens.Length)), Is.EqualTo(new[] { (2, 3), (3, 4), (4, 5) }));
        Assert.That(batch.Samples[2].Tokens.ToArray(), Is.EqualTo(new[] { 100, 101, 102, 7, 8 }));
        Assert.That(builder.Conclude(plan, Output(chosen), reports: true).Sequences.Single().TokenIds, Is.EqualTo(taken));
        Assert.That(builder.Lay(new StepPlan { Epoch = 7, Step = 2, Sequences = { Rows(1, computed, 1, true) } }).TokenIds.ToArray(), Is.EqualTo(new[] { taken[^1] }));
    }

    [Test]
    public void Conclude_LogitsNotFinite_FaultsTheSequenceAloneAndStepsUnderWayStillRun([Values] bool reports)
    {
        StepBatchBuilder builder = Builder();
        StepPlan plan = new() { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3), Sequence(2, 3) }, Sequences = { Rows(1, 0, 3, true, 0), Rows(2, 0, 3, true, 1) } };
        builder.Lay(plan);
        StepResult result = builder.Conclude(plan, Output(Model.Sampling.Sampler.NotFinite, 9), reports);
        if (reports)
            Assert.That(result.Sequences.Select(sequence => sequence.Fault), Is.EqualTo(new[] { "the logits are not finite", "" }));
        Assert.DoesNotThrow(() => builder.Lay(new StepPlan { Epoch = 7, Step = 2, Sequences = { Rows(1, 3, 1, true), Rows(2, 3, 1, true) } }));
    }
}
