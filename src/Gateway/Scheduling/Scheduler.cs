using TpServe.Protos.Worker;

namespace TpServe.Gateway.Scheduling;

/// <summary>Decides what each step computes: continuous batching, first come first served, over one life of the worker group at a time.</summary>
/// <remarks>
/// How a step is made (<see cref="Next"/>):
///   1. every running sequence whose prompt is planned gets one decode row;
///   2. running sequences still in their prompt get their next chunk, oldest first, while the step has room;
///   3. waiting sequences are admitted in order of arrival while the step, the batch and the KV cache have room; the first that does not fit
///      stops the line, so that a large request is never overtaken for ever.
/// Admission takes all the blocks a sequence can ever need, so what runs never starves and never has to be thrown out.
/// Which rows share a step never changes a bit of any of them: the model promises that.
/// Next may be called again before Apply (pipelining): planning reads only what has been planned.
/// Threads  none of its own and no locks: one caller at a time.
/// </remarks>
public sealed class Scheduler
{
    private readonly SchedulerSettings _settings;
    private readonly List<Sequence> _waiting = [];
    private readonly List<Sequence> _running = [];
    private readonly Queue<StepPlan> _inFlight = new();
    private readonly List<ulong> _toForget = []; // finished sequences that the workers still remember
    private readonly Dictionary<ulong, Sequence> _planned = []; // every sequence a step in flight may name
    private BlockAllocator _blocks = new(0);
    private long _epoch; // 0 = no group
    private long _step;
    private int _blockTokens;

    public Scheduler(SchedulerSettings settings)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.MaxStepTokens, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.ChunkTokens, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.MaxSequences, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(settings.MaxSequences, settings.MaxStepTokens);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.QueueLimit, 1);
        _settings = settings;
    }

    /// <summary>Sequences in the batch, oldest first.</summary>
    public IReadOnlyList<Sequence> Running => _running;

    /// <summary>Sequences in the queue, oldest first.</summary>
    public IReadOnlyList<Sequence> Waiting => _waiting;

    /// <summary>KV blocks of the present life; 0 while there is none.</summary>
    public int TotalBlocks => _blocks.TotalBlocks;

    /// <summary>KV blocks that sequences own.</summary>
    public int UsedBlocks => _blocks.TotalBlocks - _blocks.FreeBlocks;

    /// <summary>Tokens in a KV block; 0 before the first life.</summary>
    public int BlockTokens => _blockTokens;

    /// <summary>Steps sent and not yet applied.</summary>
    public int StepsInFlight => _inFlight.Count;

    /// <summary>Begins a life of the group: steps count from 1, all blocks are free. Returns the waiting sequences that can never fit; they are out.</summary>
    public IReadOnlyList<Sequence> StartLife(long epoch, int kvBlocks, int blockTokens)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(epoch, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(blockTokens, 1);
        if (_epoch != 0)
            throw new InvalidOperationException($"Epoch {_epoch} has not ended.");
        _epoch = epoch;
        _step = 0;
        _blocks = new BlockAllocator(kvBlocks);
        _blockTokens = blockTokens;
        List<Sequence> misfits = _waiting.FindAll(sequence => sequence.BlocksNeeded(blockTokens) > kvBlocks);
        foreach (Sequence sequence in misfits)
            Finish(sequence);
        return misfits;
    }

    /// <summary>Ends the life: the group was lost. Returns the sequences that ran; the queue stays.</summary>
    public IReadOnlyList<Sequence> EndLife()
    {
        Sequence[] lost = [.. _running];
        foreach (Sequence sequence in lost)
            Finish(sequence);
        _epoch = 0;
        _blocks = new BlockAllocator(0);
        _inFlight.Clear();
        _toForget.Clear();
        _planned.Clear();
        return lost;
    }

    /// <summary>Whether the present KV cache could ever hold the sequence; true while its size is unknown.</summary>
    public bool CanEverFit(Sequence sequence) => _epoch == 0 || sequence.BlocksNeeded(_blockTokens) <= _blocks.TotalBlocks;

    /// <summary>Puts the sequences of one request at the end of the queue: all or none.</summary>
    /// <exception cref="QueueFullException">As many sequences as the limit are waiting already.</exception>
    public void Add(params ReadOnlySpan<Sequence> sequences)
    {
        if (_waiting.Count >= _settings.QueueLimit)
            throw new QueueFullException(_waiting.Count, _settings.QueueLimit);
        _waiting.AddRange(sequences);
    }

    /// <summary>The next step, or null where there is nothing to compute. See the class for its order.</summary>
    public StepPlan? Next()
    {
        if (_epoch == 0)
            return null;
        StepPlan plan = new();
        int room = _settings.MaxStepTokens;

        // 1. One row for each decode. There are at most MaxSequences of them, so all have room, and one more row if a prompt is running too.
        foreach (Sequence sequence in _running)
            if (sequence.PlannedTokens >= sequence.PromptTokens && sequence.PlannedSamples < sequence.Spec.MaxNewTokens)
            {
                PlanRows(plan, sequence, 1, []);
                room--;
            }

        // 2. The next chunk of each prompt under way.
        foreach (Sequence sequence in _running)
            if (room > 0 && sequence.PlannedTokens < sequence.PromptTokens)
                room -= PlanChunk(plan, sequence, room, []);

        // 3. Admit.
        while (room > 0 && _waiting.Count > 0 && _running.Count < _settings.MaxSequences
            && _blocks.TryAllocate(_waiting[0].BlocksNeeded(_blockTokens), out BlockId[] blocks))
        {
            Sequence sequence = _waiting[0];
            _waiting.RemoveAt(0);
            _running.Add(sequence);
            sequence.State = SequenceState.Running;
            sequence.Blocks = blocks;
            _planned.Add(sequence.Id.Value, sequence);
            plan.NewSequences.Add(sequence.Announce());
            room -= PlanChunk(plan, sequence, room, blocks);
        }

        if (plan.Sequences.Count == 0)
            return null;
        plan.Epoch = _epoch;
        plan.Step = ++_step;
        plan.Finished.AddRange(_toForget);
        _toForget.Clear();
        _inFlight.Enqueue(plan);
        return plan;
    }

    /// <summary>Takes in the answer to the oldest step in flight; the progress of each sequence that has not ended meanwhile, in the plan's order.</summary>
    /// <exception cref="StepMismatchException">The result does not answer that step.</exception>
    public IReadOnlyList<SequenceProgress> Apply(StepResult result)
    {
        if (!_inFlight.TryPeek(out StepPlan? plan) || result.Epoch != plan.Epoch || result.Step != plan.Step)
            throw new StepMismatchException(
                $"A worker answered epoch {result.Epoch} step {result.Step}; expected epoch {_epoch} step {plan?.Step ?? 0} (0: none is in flight).");
        if (result.Sequences.Count != plan.Sequences.Count)
            throw new StepMismatchException($"Step {plan.Step}: a worker answered {result.Sequences.Count} sequences of {plan.Sequences.Count}.");
        _inFlight.Dequeue();

        List<SequenceProgress> progress = new(plan.Sequences.Count);
        for (int i = 0; i < plan.Sequences.Count; i++)
        {
            SequenceStep rows = plan.Sequences[i];
            SequenceResult computed = result.Sequences[i];
            if (computed.SequenceId != rows.SequenceId || computed.HasTokenId != rows.Sample)
                throw new StepMismatchException(
                    $"Step {plan.Step}: row {i} is sequence {rows.SequenceId} (sampled: {rows.Sample}); a worker answered {computed.SequenceId} (sampled: {computed.HasTokenId}).");
            if (_planned.TryGetValue(rows.SequenceId, out Sequence? sequence)) // else it ended while the step ran
                progress.Add(Advance(sequence, rows, computed));
        }
        return progress;
    }

    /// <summary>Takes a sequence out, wherever it is; its blocks are free for the next step. False where it had ended already.</summary>
    public bool Abort(Sequence sequence)
    {
        if (sequence.State == SequenceState.Finished)
            return false;
        Finish(sequence);
        return true;
    }

    private int PlanChunk(StepPlan plan, Sequence sequence, int room, ReadOnlySpan<BlockId> newBlocks)
    {
        int tokens = Math.Min(Math.Min(room, _settings.ChunkTokens), sequence.PromptTokens - sequence.PlannedTokens);
        PlanRows(plan, sequence, tokens, newBlocks);
        return tokens;
    }

    private static void PlanRows(StepPlan plan, Sequence sequence, int tokens, ReadOnlySpan<BlockId> newBlocks)
    {
        int start = sequence.PlannedTokens;
        bool sample = start + tokens >= sequence.PromptTokens && sequence.Spec.MaxNewTokens > 0;
        SequenceStep rows = new() { SequenceId = sequence.Id.Value, StartPosition = start, Tokens = tokens, Sample = sample };
        foreach (BlockId block in newBlocks)
            rows.NewBlocks.Add(block.Value);
        plan.Sequences.Add(rows);
        sequence.PlannedTokens += tokens;
        if (sample)
            sequence.PlannedSamples++;
    }

    private SequenceProgress Advance(Sequence sequence, SequenceStep rows, SequenceResult computed)
    {
        bool wasPrompt = sequence.ComputedTokens < sequence.PromptTokens;
        if (rows.Sample && sequence.Spec.TopLogprobs >= 0 && computed.Logprobs is null)
            throw new StepMismatchException($"Sequence {rows.SequenceId}: a worker left out the logprobs of its token.");
        if (wasPrompt && sequence.Spec.PromptLogprobs >= 0 && computed.PromptLogprobs.Count != rows.Tokens)
            throw new StepMismatchException(
                $"Sequence {rows.SequenceId}: a worker answered {computed.PromptLogprobs.Count} prompt logprobs for {rows.Tokens} tokens.");

        sequence.ComputedTokens += rows.Tokens;
        SequenceEnd end = SequenceEnd.None;
        int? token = null;
        if (rows.Sample)
        {
            token = computed.TokenId;
            sequence.Append(computed.TokenId);
            if (sequence.Spec.EndTokens.Contains(computed.TokenId))
                end = SequenceEnd.EndToken;
            else if (sequence.Generated.Count >= sequence.Spec.MaxNewTokens)
                end = SequenceEnd.Length;
        }
        else if (sequence.ComputedTokens >= sequence.PromptTokens)
            end = SequenceEnd.Length; // MaxNewTokens = 0: the prompt was all
        if (end != SequenceEnd.None)
            Finish(sequence);
        return new SequenceProgress(sequence, token, computed.Logprobs, wasPrompt ? computed.PromptLogprobs : [], wasPrompt ? rows.Tokens : 0, end);
    }

    /// <remarks>
    /// Blocks go back at once even where a step in flight still writes them: workers run steps in order, so a new owner, who comes in a later step,
    /// writes after it.
    /// </remarks>
    private void Finish(Sequence sequence)
    {
        if (sequence.State == SequenceState.Waiting)
            _waiting.Remove(sequence);
        else
        {
            _running.Remove(sequence);
            _planned.Remove(sequence.Id.Value);
            _toForget.Add(sequence.Id.Value);
            _blocks.Free(sequence.Blocks.Span);
            sequence.Blocks = default;
        }
        sequence.State = SequenceState.Finished;
    }
}
