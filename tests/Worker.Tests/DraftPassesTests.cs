using NUnit.Framework;
using TpServe.Model;
using TpServe.Model.Sampling;
using TpServe.Protos.Worker;

namespace TpServe.Worker.Tests;

/// <summary>What the draft model computes in a step, and what becomes of its guesses; a model in miniature says what was asked of it.</summary>
public sealed class DraftPassesTests
{
    private const int BlockTokens = 4;

    /// <summary>Guesses 500, 501, … in the order of being asked, and notes each pass as "tokens@position/sampled".</summary>
    private sealed class Draft : IDraftModel
    {
        private readonly StepOutput _output = new();
        private int _next = 500;

        public DraftLimits Limits { get; init; } = new(MaxModelLength: 32, MaxStepTokens: 8, Vocab: 1000, TargetVocab: 1000);

        public List<string> Passes { get; } = [];

        public List<(int, int)> Copies { get; } = [];

        /// <summary>What it says instead.</summary>
        public Queue<int> Says { get; } = [];

        /// <summary>What each row was sampled with.</summary>
        public List<(SamplingSettings Settings, int[] Tokens)> Sampled { get; } = [];

        public StepOutput Run(StepBatch batch)
        {
            List<string> sequences = [];
            for (int sequence = 0, row = 0; sequence < batch.Sequences; sequence++)
            {
                int first = row;
                while (row < batch.Rows && batch.SequenceOfRow[row] == sequence)
                    row++;
                sequences.Add($"{string.Join(',', batch.TokenIds[first..row].ToArray())}@{batch.Positions[first]}{(batch.Samples.Exists(sample => sample.Row == row - 1) ? "!" : "")}");
                Assert.That(batch.Slots[first], Is.EqualTo(batch.BlockTable(sequence)[batch.Positions[first] / BlockTokens] * BlockTokens + batch.Positions[first] % BlockTokens));
            }
            Passes.Add(string.Join(' ', sequences));
            Span<int> chosen = _output.Reset(batch.Samples.Count);
            for (int i = 0; i < chosen.Length; i++)
            {
                chosen[i] = Says.TryDequeue(out int token) ? token : _next++;
                Sampled.Add((batch.Samples[i].Settings, batch.Samples[i].Tokens.ToArray()));
                Assert.That(batch.Samples[i].TopLogprobs, Is.EqualTo(-1));
            }
            return _output;
        }

        public void CopyBlock(int source, int destination) => Copies.Add((source, destination));
    }

    private Draft _draft = new();
    private long _step;
    private StepBatchBuilder _builder = null!;

    [SetUp]
    public void Begin()
    {
        _draft = new Draft();
        _step = 0;
        _builder = new StepBatchBuilder(epoch: 7, BlockTokens, new DraftPasses(_draft, BlockTokens));
    }

    private static NewSequence Sequence(ulong id, int tokens, int computed = 0, bool drafts = true) => new()
    {
        SequenceId = id,
        TokenIds = { Enumerable.Range(100, tokens) },
        Sampling = new SamplingParameters { PromptTokens = tokens, TopP = 1, RepetitionPenalty = 1, Temperature = 1, Seed = 40 + id },
        TopLogprobs = -1,
        PromptLogprobs = -1,
        ComputedTokens = computed,
        Drafts = drafts,
    };

    private static SequenceStep Rows(ulong id, int start, int tokens, bool sample, int guesses = 0, params int[] blocks) =>
        new() { SequenceId = id, StartPosition = start, Tokens = tokens, Sample = sample, NewBlocks = { blocks }, DraftTokens = guesses };

    /// <summary>Runs a plan: the model says these tokens. The draft's passes of it, and what the sequences got.</summary>
    private (string[] Passes, int[][] Tokens) Run(StepPlan plan, params int[] chosen)
    {
        _draft.Passes.Clear();
        (plan.Epoch, plan.Step) = (7, ++_step);
        StepBatch batch = _builder.Lay(plan);
        StepOutput output = new();
        Assert.That(batch.Samples, Has.Count.EqualTo(chosen.Length), "rows sampled");
        chosen.CopyTo(output.Reset(chosen.Length));
        StepResult result = _builder.Conclude(plan, output, reports: true);
        return ([.. _draft.Passes], [.. result.Sequences.Select(sequence => sequence.TokenIds.ToArray())]);
    }

    private (string[] Passes, int[][] Tokens) Run(SequenceStep rows, params int[] chosen) => Run(new StepPlan { Sequences = { rows } }, chosen);

    [Test]
    public void Run_ChunksOfAPrompt_AreComputedWithThem()
    {
        Assert.That(Run(new StepPlan { NewSequences = { Sequence(1, 6) }, Sequences = { Rows(1, 0, 4, false, 0, 9) } }).Passes, Is.EqualTo(new[] { "100,101,102,103@0" }));
        Assert.That(Run(Rows(1, 4, 2, true, 0, 2), 7).Passes, Is.EqualTo(new[] { "104,105@4" }));
    }

    [Test]
    public void Run_SequencesThatGuess_ShareEachPassAndTheModelChecksAll()
    {
        StepPlan prompts = new() { NewSequences = { Sequence(1, 3), Sequence(2, 5) }, Sequences = { Rows(1, 0, 3, true, 0, 0, 1), Rows(2, 0, 5, true, 0, 2, 3, 4) } };
        Assert.That(Run(prompts, 7, 8).Passes, Is.EqualTo(new[] { "100,101,102@0 100,101,102,103,104@0" }));
        StepPlan guesses = new() { Sequences = { Rows(1, 3, 1, true, 2), Rows(2, 5, 1, true, 3) } };
        (string[] passes, int[][] tokens) = Run(guesses, 500, 502, 44, 501, 503, 504, 45);
        Assert.That(passes, Is.EqualTo(new[] { "7@3! 8@5!", "500@4! 501@6!", "503@7!" }));
        Assert.That(tokens, Is.EqualTo(new[] { new[] { 500, 502, 44 }, [501, 503, 504, 45] }));
    }

    [Test]
    public void Run_EveryGuessRight_IsOneTokenBehindAndComputesTwoNext()
    {
        Run(new StepPlan { NewSequences = { Sequence(1, 3) }, Sequences = { Rows(1, 0, 3, true, 0, 0, 1, 2) } }, 7);
        Run(Rows(1, 3, 1, true, 2), 500, 501, 44);
        Assert.That(Run(Rows(1, 6, 1, true, 1), 9, 9).Passes, Is.EqualTo(new[] { "501,44@5!" }));
    }

    [TestCase(new[] { 9, 501, 44 }, 4, "9@4!", TestName = "the first is wrong")]
    [TestCase(new[] { 500, 9, 44 }, 5, "9@5!", TestName = "the second is wrong")]
    public void Run_AGuessWrong_GoesBackToTheLastThatWasRight(int[] chosen, int computed, string pass)
    {
        Run(new StepPlan { NewSequences = { Sequence(1, 3) }, Sequences = { Rows(1, 0, 3, true, 0, 0, 1, 2) } }, 7);
        Run(Rows(1, 3, 1, true, 2), chosen);
        Assert.That(Run(Rows(1, computed, 1, true, 1), 9, 9).Passes, Is.EqualTo(new[] { pass }));
    }

    [Test]
    public void Run_SequenceThatRested_CatchesUpInAsManyBatchesAsItNeeds()
    {
        Run(new StepPlan { NewSequences = { Sequence(1, 3) }, Sequences = { Rows(1, 0, 3, true, 0, 0, 1, 2, 3) } }, 7);
        for (int position = 3; position < 12; position++)
            Assert.That(Run(Rows(1, position, 1, true), 10 + position).Passes, Is.Empty);
        Assert.That(Run(Rows(1, 12, 1, true, 1), 9, 9).Passes, Is.EqualTo(new[] { "7,13,14,15,16,17,18,19@3", "20,21@11!" }));
    }

    [Test]
    public void Run_SequenceComputedInPart_BeginsBehindItAndBlocksAreCopied()
    {
        StepPlan plan = new() { NewSequences = { Sequence(1, 7, computed: 4) }, Sequences = { Rows(1, 4, 3, true, 0, 9, 2) }, Copies = { new BlockCopy { Source = 5, Destination = 2 } } };
        Assert.That(Run(plan, 7).Passes, Is.EqualTo(new[] { "104,105,106@4" }));
        Assert.That(_draft.Copies, Is.EqualTo(new[] { (5, 2) }));
    }

    [Test]
    public void Run_SequenceThatTheDraftLeavesAlone_CostsItNothing() =>
        Assert.That(Run(new StepPlan { NewSequences = { Sequence(1, 3, drafts: false) }, Sequences = { Rows(1, 0, 3, true, 0, 0) } }, 7).Passes, Is.Empty);

    [Test]
    public void Run_Guesses_AreDrawnAsTheModelWouldDrawThatToken()
    {
        Run(new StepPlan { NewSequences = { Sequence(1, 3) }, Sequences = { Rows(1, 0, 3, true, 0, 0, 1) } }, 7);
        Run(Rows(1, 3, 1, true, 2), 500, 9, 9);
        Assert.That(_draft.Sampled.Select(sampled => sampled.Settings.Seed), Is.All.EqualTo(41UL));
        Assert.That(_draft.Sampled.Select(sampled => sampled.Tokens), Is.EqualTo(new[] { new[] { 100, 101, 102, 7 }, [100, 101, 102, 7, 500] }));
    }

    [Test]
    public void Run_GuessThatIsNoTokenOfTheModel_IsToken0([Values(Sampler.NotFinite, 1000)] int said)
    {
        Run(new StepPlan { NewSequences = { Sequence(1, 3) }, Sequences = { Rows(1, 0, 3, true, 0, 0, 1) } }, 7);
        _draft.Says.Enqueue(said);
        (string[] passes, int[][] tokens) = Run(Rows(1, 3, 1, true, 2), 0, 500, 44);
        Assert.That(passes, Is.EqualTo(new[] { "7@3!", "0@4!" }));
        Assert.That(tokens.Single(), Is.EqualTo(new[] { 0, 500, 44 }));
    }

    [Test]
    public void Run_TokenThatTheDraftHasNoEmbeddingOf_CountsAsIts0()
    {
        Draft small = new() { Limits = new DraftLimits(32, 8, Vocab: 102, TargetVocab: 1000) };
        StepBatchBuilder builder = new(7, BlockTokens, new DraftPasses(small, BlockTokens));
        builder.Lay(new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) }, Sequences = { Rows(1, 0, 3, true, 0, 0, 1) } });
        Assert.That(small.Passes, Is.EqualTo(new[] { "100,101,0@0" }));
    }

    [Test]
    public void Run_PromptBeyondTheDraftsContext_IsComputedAsFarAsItReaches()
    {
        Draft small = new() { Limits = new DraftLimits(MaxModelLength: 2, 8, 1000, 1000) };
        StepBatchBuilder builder = new(7, BlockTokens, new DraftPasses(small, BlockTokens));
        builder.Lay(new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) }, Sequences = { Rows(1, 0, 3, true, 0, 0, 1) } });
        Assert.That(small.Passes, Is.EqualTo(new[] { "100,101@0" }));
    }

    [TestCase(true, 0, 4, "computes 32", TestName = "beyond the draft's context")]
    [TestCase(false, 0, 1, "has no part", TestName = "a sequence that it leaves alone")]
    [TestCase(true, 1, 1, "has no part", TestName = "guesses of both kinds")]
    public void Lay_GuessesThatCannotBe_NameWhatDoesNotFit(bool drafts, int ids, int guesses, string named)
    {
        SequenceStep rows = Rows(1, 0, 30, true, guesses, [.. Enumerable.Range(0, 9)]);
        rows.DraftIds.Add(Enumerable.Repeat(5, ids));
        PlanMismatchException? fault = Assert.Throws<PlanMismatchException>(() =>
            _builder.Lay(new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 30, drafts: drafts) }, Sequences = { rows } }));
        Assert.That(fault!.Message, Does.Contain(named));
    }

    [Test]
    public void Lay_NoDraftModel_RefusesToGuess()
    {
        StepBatchBuilder builder = new(7, BlockTokens);
        PlanMismatchException? fault = Assert.Throws<PlanMismatchException>(() =>
            builder.Lay(new StepPlan { Epoch = 7, Step = 1, NewSequences = { Sequence(1, 3) }, Sequences = { Rows(1, 0, 3, true, 1, 0, 1) } }));
        Assert.That(fault!.Message, Does.Contain("is not there"));
    }
}
