using TpServe.Model;
using TpServe.Model.Sampling;
using TpServe.Protos.Worker;
using LoraAdapter = TpServe.Model.Adapters.LoraAdapter;
using TokenLogprobs = TpServe.Model.Sampling.TokenLogprobs;

namespace TpServe.Worker;

/// <summary>Follows the gateway's plans: keeps each running sequence's state, lays out a step's batch, and turns its output into a result.</summary>
/// <remarks>
/// The state of a sequence is the same on every rank: all get the same plans, and the sampled ids are broadcast.
/// Threads  the rank's thread.
/// </remarks>
/// <param name="epoch">Life of the group.</param>
/// <param name="blockTokens">Tokens of a KV block.</param>
/// <param name="draft">Guesses ahead; null = there is no draft model.</param>
/// <param name="loras">The adapters of the rank; null = it has none.</param>
/// <param name="masks">Where what follows a step arrives; null = nothing does.</param>
internal sealed class StepBatchBuilder(long epoch, int blockTokens, DraftPasses? draft = null, MaskInbox? masks = null, LoadedLoras? loras = null)
{
    private readonly Dictionary<ulong, SequenceState> _sequences = [];
    private readonly List<(SequenceStep Step, SequenceState Sequence)> _steps = [];
    private readonly StepBatch _batch = new(blockTokens);
    private long _step;

    /// <summary>The batch of a plan, once the draft model has made the guesses that the plan asks of it. Valid until the next.</summary>
    /// <exception cref="PlanMismatchException">The plan is of another epoch or step, or does not fit what this rank knows.</exception>
    public StepBatch Lay(StepPlan plan)
    {
        if (plan.Epoch != epoch)
            throw new PlanMismatchException($"a plan of epoch {plan.Epoch} reached a rank of epoch {epoch}.");
        if (plan.Step != _step + 1)
            throw new PlanMismatchException($"step {plan.Step} follows step {_step}.");
        _step = plan.Step;
        foreach (ulong id in plan.Finished)
            _sequences.Remove(id);
        foreach (int lora in plan.DroppedLoras)
            loras?.Drop(lora);
        foreach (NewSequence sequence in plan.NewSequences)
        {
            LoraAdapter? lora = loras?.Find(sequence.LoraId);
            if (sequence.LoraId != 0 && lora is null)
                throw new PlanMismatchException($"sequence {sequence.SequenceId} goes through adapter {sequence.LoraId}, which is not here.");
            if (!_sequences.TryAdd(sequence.SequenceId, new SequenceState(sequence) { Lora = lora }))
                throw new PlanMismatchException($"sequence {sequence.SequenceId} is new twice.");
        }

        _steps.Clear();
        foreach (SequenceStep step in plan.Sequences)
            _steps.Add((step, Begin(step)));
        draft?.Run(plan, _steps);

        _batch.Clear(plan.Step);
        foreach (BlockCopy copy in plan.Copies)
            _batch.Copies.Add((copy.Source, copy.Destination));
        bool follows = false;
        foreach ((SequenceStep step, SequenceState sequence) in _steps)
        {
            Lay(step, sequence);
            follows |= step.AllowedFollows;
        }
        _batch.AwaitMasks = follows ? AwaitMasks : null;
        return _batch;
    }

    /// <summary>The result of the plan laid last; moves every sequence on.</summary>
    /// <param name="plan">That plan.</param>
    /// <param name="output">What the model found.</param>
    /// <param name="reports">True on rank 0, which alone tells the gateway.</param>
    public StepResult Conclude(StepPlan plan, StepOutput output, bool reports)
    {
        StepResult result = new() { Epoch = epoch, Step = plan.Step };
        int sample = 0, prompt = 0;
        foreach (SequenceStep step in plan.Sequences)
        {
            SequenceState sequence = _sequences[step.SequenceId];
            SequenceResult own = new() { SequenceId = step.SequenceId };
            if (reports && sequence.PromptLogprobs >= 0)
                AddPromptLogprobs(own, sequence, step, output, ref prompt);
            int right = 0;
            if (step.Sample)
            {
                int guesses = sequence.Guesses;
                right = Take(own, sequence, output, sample, reports);
                sample += 1 + guesses;
            }
            sequence.Advance(step.Tokens + right);
            if (reports && sequence.Pooled is { } pooled && sequence.Computed == sequence.PromptTokens)
                AddVector(own, pooled);
            if (reports)
                result.Sequences.Add(own);
        }
        return result;
    }

    /// <summary>Appends what was sampled: one token, and one more for each guess that equals the token sampled before it. Returns how many guesses do.</summary>
    private static int Take(SequenceResult own, SequenceState sequence, StepOutput output, int sample, bool reports)
    {
        // What is taken depends on the tokens alone, which every rank has: the ranks' states must not part.
        int right = 0;
        while (true)
        {
            int token = output.TokenIds[sample + right];
            bool failed = token == Sampler.NotFinite;
            if (failed)
            {
                own.Fault = "the logits are not finite";
                token = 0; // the gateway ends the sequence; until it has heard of it, steps under way must find a token here
            }
            bool guessed = sequence.Append(token);
            own.TokenIds.Add(token);
            if (failed)
                return right;
            if (reports && sequence.TopLogprobs >= 0)
                own.Logprobs.Add(Message(own, output.Logprobs[sample + right]));
            if (!guessed)
                return right;
            right++;
        }
    }

    /// <summary>Checks what a sequence is to do, and takes in the blocks and guesses that the plan brings for it.</summary>
    private SequenceState Begin(SequenceStep step)
    {
        if (!_sequences.TryGetValue(step.SequenceId, out SequenceState? sequence))
            throw new PlanMismatchException($"sequence {step.SequenceId} is not known.");
        if (step.StartPosition != sequence.Computed)
            throw new PlanMismatchException($"sequence {step.SequenceId} starts at {step.StartPosition}; this rank has computed {sequence.Computed} tokens of it.");
        if (step.Tokens < 1 || sequence.Computed + step.Tokens > sequence.Count)
            throw new PlanMismatchException($"sequence {step.SequenceId} computes {step.Tokens} tokens from {sequence.Computed}; this rank knows {sequence.Count} of it.");
        int end = step.StartPosition + step.Tokens;
        if (step.DraftIds.Count + step.DraftTokens > 0 && (!step.Sample || end != sequence.Count))
            throw new PlanMismatchException($"sequence {step.SequenceId} guesses beyond token {end}; this rank knows {sequence.Count} of it.");
        if (step.DraftTokens > 0 && (!sequence.Drafts || draft is null || step.DraftIds.Count > 0))
            throw new PlanMismatchException($"sequence {step.SequenceId} is to be guessed for by a draft model that {(draft is null ? "is not there" : "has no part in it")}.");
        if (step.DraftTokens > 0 && draft!.Refuses(end, step.DraftTokens) is { } reason)
            throw new PlanMismatchException($"sequence {step.SequenceId} {reason}");
        if (step.Forced && (step.DraftIds.Count == 0 || step.DraftTokens > 0))
            throw new PlanMismatchException($"sequence {step.SequenceId} is forced to {step.DraftIds.Count} tokens, and {step.DraftTokens} are to be guessed.");
        if (step.AllowedFollows && (!step.Sample || step.Allowed.Length > 0 || step.DraftIds.Count + step.DraftTokens > 0 || masks is null))
            throw new PlanMismatchException($"sequence {step.SequenceId} is to be told which tokens it may choose, and {(step.Sample ? "knows or guesses" : "chooses none")}.");
        if (step.Allowed.Length > 0 && (!step.Sample || (!step.Forced && step.DraftIds.Count + step.DraftTokens > 0)))
            throw new PlanMismatchException($"sequence {step.SequenceId} is told which tokens it may choose, and {(step.Sample ? "guesses" : "chooses none")}.");
        if (step.Sample && sequence.Pooled is not null)
            throw new PlanMismatchException($"sequence {step.SequenceId} is embedded and told to choose a token.");
        sequence.AddBlocks(step.NewBlocks);
        foreach (int guess in step.DraftIds)
            sequence.Guess(guess);
        return sequence;
    }

    private void Lay(SequenceStep step, SequenceState sequence)
    {
        int start = sequence.Computed, end = start + step.Tokens, guesses = sequence.Guesses;
        ReadOnlyMemory<int> tokens = sequence.TokensUpTo(Math.Max(end + guesses, sequence.Count));
        int first = _batch.AddSequence(tokens.Span[start..(end + guesses)], start, sequence.Blocks, sequence.LongRope, sequence.Lora);
        if (sequence.PromptLogprobs >= 0)
            for (int position = start; position < end && position + 1 < sequence.PromptTokens; position++)
                _batch.PromptLogprobs.Add(new PromptLogprobRow(first + position - start, tokens.Span[position + 1], sequence.PromptLogprobs));
        if (sequence.Pooled is { } pooled)
            for (int position = start; position < end; position++)
                if (pooled.Wants(position))
                    _batch.Pooled.Add(new PooledRow(first + position - start, pooled));
        if (!step.Sample)
            return;
        for (int guess = 0; guess <= guesses; guess++)
        {
            bool forced = step.Forced && guess < guesses;
            _batch.Samples.Add(new SampleRow(first + step.Tokens - 1 + guess, sequence.Sampling, sequence.TokensUpTo(end + guess), sequence.PromptTokens, sequence.TopLogprobs)
            {
                Only = forced ? tokens.Span[end + guess] : null,
                Allowed = forced ? default : step.Allowed.Memory,
                Follows = step.AllowedFollows ? sequence.Mask : null,
            });
        }
    }

    /// <summary>Gives the sequences of the step laid last what they may choose.</summary>
    private void AwaitMasks()
    {
        foreach ((SequenceStep step, SequenceState sequence) in _steps)
            sequence.Mask.Bits = default; // one that has ended meanwhile is told nothing
        foreach (TokenMask mask in masks!.Take(epoch, _step).Masks)
            if (_sequences.TryGetValue(mask.SequenceId, out SequenceState? sequence))
                sequence.Mask.Bits = mask.Allowed.Memory;
    }

    /// <summary>A row speaks of the token after it: each token's entry is the row before it, for the chunk's first token from an earlier step.</summary>
    private static void AddPromptLogprobs(SequenceResult own, SequenceState sequence, SequenceStep step, StepOutput output, ref int prompt)
    {
        int start = step.StartPosition, end = Math.Min(start + step.Tokens, sequence.PromptTokens);
        for (int position = start; position < end; position++)
        {
            own.PromptLogprobs.Add(position == 0 ? new Protos.Worker.TokenLogprobs() : Message(own, sequence.NextPromptLogprobs));
            sequence.NextPromptLogprobs = position + 1 < sequence.PromptTokens ? output.PromptLogprobs[prompt++] : null;
        }
    }

    private static void AddVector(SequenceResult own, PooledStates pooled)
    {
        float[] vector = pooled.Vector();
        if (vector.All(float.IsFinite))
            own.Embedding.AddRange(vector);
        else
            own.Fault = "the hidden states are not finite";
    }

    private static Protos.Worker.TokenLogprobs Message(SequenceResult own, TokenLogprobs? logprobs)
    {
        if (logprobs is null)
            throw new InvalidOperationException("The model did not report logprobs that were asked for.");
        if (float.IsNaN(logprobs.Logprob) || logprobs.TopLogprobs.Any(float.IsNaN))
            own.Fault = "the log probabilities are not numbers";
        return new Protos.Worker.TokenLogprobs
        {
            Logprob = logprobs.Logprob,
            Rank = logprobs.Rank,
            TopIds = { logprobs.TopIds },
            TopLogprobs = { logprobs.TopLogprobs },
        };
    }
}
