using System.Diagnostics;
using TpServe.Model;
using TpServe.Model.Sampling;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>The small model that guesses ahead, as a step's passes use it.</summary>
/// <remarks>Threads   the rank's thread; every rank makes the same calls in the same order, and all get the same tokens.</remarks>
internal interface IDraftModel
{
    /// <summary>Sequence length, rows of a pass and vocabulary that it takes.</summary>
    DraftLimits Limits { get; }

    /// <summary>Runs one pass. The result is overwritten by the next.</summary>
    StepOutput Run(StepBatch batch);

    /// <summary>Copies a block of its cache.</summary>
    void CopyBlock(int source, int destination);
}

/// <summary>What bounds the draft model's passes.</summary>
/// <param name="MaxModelLength">Longest sequence in tokens.</param>
/// <param name="MaxStepTokens">Most rows of a pass.</param>
/// <param name="Vocab">Rows of its embedding.</param>
/// <param name="TargetVocab">Rows of the embedding that its guesses are for.</param>
internal sealed record DraftLimits(int MaxModelLength, int MaxStepTokens, int Vocab, int TargetVocab);

/// <summary>The draft model's part of a step, before the step itself: it keeps up with prompts, and guesses for the sequences whose plan says so.</summary>
/// <remarks>
/// 1. Blocks that are to be copied are, in its cache too.
/// 2. Pass 1 computes what it has not of the sequences that guess, and of those that compute several tokens in this step; in several batches where one does not hold
///    it. A sequence that computes one token and does not guess is passed over: what gathers meanwhile is computed when it guesses next.
/// 3. Each further pass computes, for all that still guess, the token guessed before.
/// The last guess is not computed: where all were right the draft is one token behind, and its next pass 1 has two rows.
/// A guess is drawn with the sequence's own settings, seed and counter of that position: where both models agree on the distribution they agree on the token.
/// Whatever it guesses, no token is another for it. So where its logits are no numbers, or its token is none of the other model's, it guesses token 0; a token that it
/// has no embedding of counts as its token 0; and blocks that were found in the cache count as computed, though perhaps it never wrote them.
/// Threads  the rank's thread.
/// </remarks>
internal sealed class DraftPasses(IDraftModel model, int blockTokens)
{
    private readonly StepBatch _batch = new(blockTokens);
    private readonly List<SequenceState> _sampled = [];
    private readonly List<(SequenceState Sequence, int Tokens)> _guessing = [];
    private int[] _tokens = [];

    /// <summary>What the passes of the last step took.</summary>
    public TimeSpan Elapsed { get; private set; }

    /// <summary>Rows they computed.</summary>
    public int Rows { get; private set; }

    /// <summary>Why a sequence cannot guess so many tokens after <paramref name="known"/>; null where it can.</summary>
    public string? Refuses(int known, int guesses) => known + guesses - 1 > model.Limits.MaxModelLength
        ? $"guesses {guesses} tokens from {known}; its draft model computes {model.Limits.MaxModelLength}."
        : null;

    /// <summary>Runs a step's passes; each sequence that guesses has its guesses then.</summary>
    public void Run(StepPlan plan, IReadOnlyList<(SequenceStep Step, SequenceState Sequence)> steps)
    {
        long start = Stopwatch.GetTimestamp();
        Rows = 0;
        // 1. Copies.
        foreach (BlockCopy copy in plan.Copies)
            model.CopyBlock(copy.Source, copy.Destination);

        // 2. What is missing.
        _guessing.Clear();
        Begin(plan);
        foreach ((SequenceStep step, SequenceState sequence) in steps)
        {
            if (!sequence.Drafts || (step.DraftTokens == 0 && step.Tokens == 1))
                continue;
            if (step.DraftTokens > 0)
                _guessing.Add((sequence, step.DraftTokens));
            CatchUp(plan, sequence, Math.Min(step.StartPosition + step.Tokens, model.Limits.MaxModelLength), step.DraftTokens > 0);
        }
        Finish();

        // 3. Token by token.
        for (int pass = 2; _guessing.Exists(guessing => guessing.Tokens >= pass); pass++)
        {
            Begin(plan);
            foreach ((SequenceState sequence, int tokens) in _guessing)
                if (tokens >= pass)
                    Add(sequence, sequence.Count + pass - 1, samples: true);
            Finish();
        }
        Elapsed = Stopwatch.GetElapsedTime(start);
    }

    private void CatchUp(StepPlan plan, SequenceState sequence, int end, bool guesses)
    {
        while (sequence.Drafted < end)
        {
            if (_batch.Rows == model.Limits.MaxStepTokens)
            {
                Finish();
                Begin(plan);
            }
            int until = Math.Min(end, sequence.Drafted + model.Limits.MaxStepTokens - _batch.Rows);
            Add(sequence, until, guesses && until == end);
        }
    }

    private void Begin(StepPlan plan)
    {
        _batch.Clear(plan.Step);
        _sampled.Clear();
    }

    /// <summary>The rows of a sequence from where the draft is to an end, which may lie among its guesses.</summary>
    private void Add(SequenceState sequence, int end, bool samples)
    {
        ReadOnlyMemory<int> known = sequence.TokensUpTo(end);
        int count = end - sequence.Drafted;
        if (_tokens.Length < count)
            _tokens = new int[Math.Max(count, 2 * _tokens.Length)];
        for (int i = 0; i < count; i++)
        {
            int token = known.Span[sequence.Drafted + i];
            _tokens[i] = token < model.Limits.Vocab ? token : 0;
        }
        int first = _batch.AddSequence(_tokens.AsSpan(0, count), sequence.Drafted, sequence.Blocks, sequence.LongRope);
        sequence.Drafted = end;
        if (!samples)
            return;
        _batch.Samples.Add(new SampleRow(first + count - 1, sequence.Sampling, known, sequence.PromptTokens, TopLogprobs: -1));
        _sampled.Add(sequence);
    }

    private void Finish()
    {
        if (_batch.Rows == 0)
            return;
        Rows += _batch.Rows;
        StepOutput output = model.Run(_batch);
        for (int i = 0; i < _sampled.Count; i++)
            _sampled[i].Guess((uint)output.TokenIds[i] < (uint)model.Limits.TargetVocab ? output.TokenIds[i] : 0);
    }
}
