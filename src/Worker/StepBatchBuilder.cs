using TpServe.Model;
using TpServe.Model.Sampling;
using TpServe.Protos.Worker;
using TokenLogprobs = TpServe.Model.Sampling.TokenLogprobs;

namespace TpServe.Worker;

/// <summary>Follows the gateway's plans: keeps each running sequence's state, lays out a step's batch, and turns its output into a result.</summary>
/// <remarks>
/// The state of a sequence is the same on every rank: all get the same plans, and the sampled ids are broadcast.
/// Threads  the rank's thread.
/// </remarks>
internal sealed class StepBatchBuilder(long epoch, int blockTokens)
{
    private readonly Dictionary<ulong, SequenceState> _sequences = [];
    private readonly StepBatch _batch = new(blockTokens);
    private readonly List<SequenceState> _sampled = [];
    private long _step;

    /// <summary>The batch of a plan. Valid until the next.</summary>
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
        foreach (NewSequence sequence in plan.NewSequences)
            if (!_sequences.TryAdd(sequence.SequenceId, new SequenceState(sequence)))
                throw new PlanMismatchException($"sequence {sequence.SequenceId} is new twice.");

        _batch.Clear(plan.Step);
        _sampled.Clear();
        foreach (SequenceStep step in plan.Sequences)
            Lay(step);
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
            if (step.Sample)
            {
                int token = output.TokenIds[sample];
                sequence.Append(token);
                own.TokenId = token;
                if (reports && sequence.TopLogprobs >= 0)
                    own.Logprobs = Message(output.Logprobs[sample]);
                sample++;
            }
            sequence.Advance(step.Tokens);
            if (reports)
                result.Sequences.Add(own);
        }
        return result;
    }

    private void Lay(SequenceStep step)
    {
        if (!_sequences.TryGetValue(step.SequenceId, out SequenceState? sequence))
            throw new PlanMismatchException($"sequence {step.SequenceId} is not known.");
        if (step.StartPosition != sequence.Computed)
            throw new PlanMismatchException($"sequence {step.SequenceId} starts at {step.StartPosition}; this rank has computed {sequence.Computed} tokens of it.");
        if (step.Tokens < 1 || sequence.Computed + step.Tokens > sequence.Count)
            throw new PlanMismatchException($"sequence {step.SequenceId} computes {step.Tokens} tokens from {sequence.Computed}; this rank knows {sequence.Count} of it.");
        sequence.AddBlocks(step.NewBlocks);
        ReadOnlyMemory<int> tokens = sequence.Tokens;
        int start = sequence.Computed, end = start + step.Tokens;
        int first = _batch.AddSequence(tokens.Span[start..end], start, sequence.Blocks, sequence.PromptTokens);
        if (sequence.PromptLogprobs >= 0)
            for (int position = start; position < end && position + 1 < sequence.PromptTokens; position++)
                _batch.PromptLogprobs.Add(new PromptLogprobRow(first + position - start, tokens.Span[position + 1], sequence.PromptLogprobs));
        if (step.Sample)
            _batch.Samples.Add(new SampleRow(first + step.Tokens - 1, sequence.Sampling, tokens, sequence.PromptTokens, sequence.TopLogprobs));
    }

    /// <summary>A row speaks of the token after it: each token's entry is the row before it, for the chunk's first token from an earlier step.</summary>
    private static void AddPromptLogprobs(SequenceResult own, SequenceState sequence, SequenceStep step, StepOutput output, ref int prompt)
    {
        int start = step.StartPosition, end = Math.Min(start + step.Tokens, sequence.PromptTokens);
        for (int position = start; position < end; position++)
        {
            own.PromptLogprobs.Add(position == 0 ? new Protos.Worker.TokenLogprobs() : Message(sequence.NextPromptLogprobs));
            sequence.NextPromptLogprobs = position + 1 < sequence.PromptTokens ? output.PromptLogprobs[prompt++] : null;
        }
    }

    private static Protos.Worker.TokenLogprobs Message(TokenLogprobs? logprobs)
    {
        if (logprobs is null)
            throw new InvalidOperationException("The model did not report logprobs that were asked for.");
        return new Protos.Worker.TokenLogprobs
        {
            Logprob = logprobs.Logprob,
            Rank = logprobs.Rank,
            TopIds = { logprobs.TopIds },
            TopLogprobs = { logprobs.TopLogprobs },
        };
    }
}
