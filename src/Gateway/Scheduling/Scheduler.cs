using TpServe.Protos.Worker;

namespace TpServe.Gateway.Scheduling;

/// <summary>Decides what each step computes: continuous batching over shared blocks, over one life of the worker group at a time.</summary>
/// <remarks>
/// Sequences stand in order of priority, then arrival. How a step is made (<see cref="Next"/>):
///   1. more urgent sequences that wait take the places of less urgent ones that run;
///   2. every running sequence, in order, plans min(Known − Planned, chunk, room) tokens; one that has a single token to compute always has room.
///      It takes the blocks it grows into; where none is free the last in order gives way: its cursors go back to 0, its blocks to the pool,
///      it itself to the queue. So the first in order always moves on;
///   3. waiting sequences are admitted in order while the step, the batch and the pool have room. Each looks for the blocks its tokens are in already.
///      The first that does not fit stops the line, so that a large request is never overtaken for ever.
/// Which rows share a step, where a chunk ends and what was found in the cache never changes a bit of any row: the model promises that.
/// Next may be called again before Apply: planning reads only what is planned.
/// Blocks are released at once even where a step in flight still writes them: workers run steps in order, so a new holder, who comes in a later step,
/// writes after it.
/// Threads  none of its own and no locks: one caller at a time.
/// </remarks>
public sealed class Scheduler
{
    private readonly SchedulerSettings _settings;
    private readonly DraftPolicy? _drafts;
    private readonly List<Sequence> _waiting = []; // both in order
    private readonly List<Sequence> _running = [];
    private readonly Queue<StepPlan> _inFlight = new();
    private readonly List<ulong> _toForget = []; // admissions that are over and that the workers still remember
    private readonly Dictionary<ulong, Sequence> _admitted = []; // every running sequence by its present name
    private BlockPool _blocks = new(0);
    private long _epoch; // 0 = no group
    private long _step;
    private ulong _lastId;
    private long _lastTicket;
    private int _blockTokens;
    private int _placeless; // of those that wait, how many share the place of another

    public Scheduler(SchedulerSettings settings)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.MaxStepTokens, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.ChunkTokens, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.MaxSequences, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(settings.MaxSequences, settings.MaxStepTokens);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.QueueLimit, 1);
        _settings = settings;
        _drafts = settings.Draft is { } draft ? new DraftPolicy(draft) : null;
    }

    /// <summary>Sequences in the batch, in order.</summary>
    public IReadOnlyList<Sequence> Running => _running;

    /// <summary>Sequences in the queue, in order.</summary>
    public IReadOnlyList<Sequence> Waiting => _waiting;

    /// <summary>Tokens that the sequences in the queue have to compute before they make a new one.</summary>
    public long WaitingTokens { get; private set; }

    /// <summary>KV blocks of the present life; 0 while there is none.</summary>
    public int TotalBlocks => _blocks.TotalBlocks;

    /// <summary>KV blocks that sequences hold.</summary>
    public int UsedBlocks => _blocks.TotalBlocks - _blocks.FreeBlocks;

    /// <summary>KV blocks that nobody holds and whose content can be found.</summary>
    public int CachedBlocks => _blocks.CachedBlocks;

    /// <summary>Tokens in a KV block; 0 before the first life.</summary>
    public int BlockTokens => _blockTokens;

    /// <summary>Steps sent and not yet applied.</summary>
    public int StepsInFlight => _inFlight.Count;

    /// <summary>How often a sequence has given way since the start.</summary>
    public long Preemptions { get; private set; }

    /// <summary>Prompt tokens that admissions looked for in the cache, and found there, since the start.</summary>
    public (long Asked, long Found) CacheTokens { get; private set; }

    /// <summary>Tokens guessed ahead, and those of them that were right, since the start.</summary>
    public (long Guessed, long Right) DraftTokens { get; private set; }

    /// <summary>Begins a life of the group: steps count from 1, all blocks are free and blank. Returns the waiting sequences that can never fit; they are out.</summary>
    public IReadOnlyList<Sequence> StartLife(long epoch, int kvBlocks, int blockTokens)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(epoch, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(blockTokens, 1);
        if (_epoch != 0)
            throw new InvalidOperationException($"Epoch {_epoch} has not ended.");
        _epoch = epoch;
        _step = 0;
        _blocks = new BlockPool(kvBlocks);
        _blockTokens = blockTokens;
        List<Sequence> misfits = _waiting.FindAll(sequence => sequence.BlocksNeeded(blockTokens) > kvBlocks);
        foreach (Sequence sequence in misfits)
            Finish(sequence);
        return misfits;
    }

    /// <summary>Ends the life: the group was lost. What ran stands in the queue again, where it arrived. Returns what steps in flight computed.</summary>
    public IReadOnlyList<Sequence> EndLife()
    {
        HashSet<ulong> named = [.. _inFlight.SelectMany(plan => plan.Sequences).Select(rows => rows.SequenceId)];
        Sequence[] caught = [.. _running.Where(sequence => named.Contains(sequence.Id.Value))];
        while (_running.Count > 0)
            Requeue(_running[^1]);
        _epoch = 0;
        _blocks = new BlockPool(0);
        _inFlight.Clear();
        _toForget.Clear();
        return caught;
    }

    /// <summary>Whether the present KV cache could ever hold the sequence; true while its size is unknown.</summary>
    public bool CanEverFit(Sequence sequence) => _epoch == 0 || sequence.BlocksNeeded(_blockTokens) <= _blocks.TotalBlocks;

    /// <summary>Refuses a request as <see cref="Add"/> would, before anything is known of it.</summary>
    /// <exception cref="QueueFullException">As many sequences or tokens as the limit are waiting already.</exception>
    public void RequireRoom()
    {
        if (_waiting.Count - _placeless >= _settings.QueueLimit)
            throw new QueueFullException("sequences", _waiting.Count - _placeless, _settings.QueueLimit);
        if (WaitingTokens >= _settings.QueueTokens)
            throw new QueueFullException("prompt tokens", WaitingTokens, _settings.QueueTokens);
    }

    /// <summary>Puts the sequences of one request into the queue: all or none.</summary>
    /// <exception cref="QueueFullException">As many sequences or tokens as the limit are waiting already.</exception>
    public void Add(params ReadOnlySpan<Sequence> sequences)
    {
        RequireRoom();
        foreach (Sequence sequence in sequences)
        {
            sequence.Ticket = ++_lastTicket;
            Enqueue(sequence);
        }
    }

    /// <summary>The next step, or null where there is nothing to compute. See the class for its order.</summary>
    /// <param name="catchUpTokens">Most tokens beside those of sequences that have a single one to compute, where there are such; at least 1.</param>
    /// <param name="loneTokens">Most tokens where there are none such; at least 1.</param>
    public StepPlan? Next(int catchUpTokens = int.MaxValue, int loneTokens = int.MaxValue)
    {
        if (_epoch == 0)
            return null;
        StepPlan plan = new();

        // 1. The urgent.
        LetTheUrgentIn();
        long preemptions = Preemptions;

        // 2. What runs. A row of one token costs little and keeps a stream flowing: it has room whatever prompts are under way.
        int single = _running.Count(sequence => sequence.Plannable == 1);
        int room = _settings.MaxStepTokens - single;
        bool streams = single > 0 || _running.Exists(sequence => sequence.DraftInFlight);
        room = Math.Min(room, Math.Max(streams ? catchUpTokens : loneTokens, 1));
        bool draftUnderWay = _drafts is not null && _inFlight.Any(step => step.Sequences.Any(rows => rows.DraftTokens > 0));
        _drafts?.BeginStep(draftUnderWay ? 0 : single, [.. _running.Where(sequence => sequence.Plannable == 1).Select(sequence => sequence.Draft).OfType<DraftRecord>()]);
        for (int i = 0; i < _running.Count; i++)
        {
            Sequence sequence = _running[i];
            int tokens = sequence.Plannable;
            if (tokens > 0 && Crosses(sequence))
            {
                if (sequence.SamplesInFlight > 0)
                    continue; // its log is whole once they have answered
                Requeue(sequence);
                i--;
                continue;
            }
            if (tokens == 1 && sequence.SamplesInFlight > 0 && sequence.Drafter is { Rests: false })
                continue; // guesses begin with the token that is on its way
            bool one = tokens == 1;
            if (one && draftUnderWay)
                continue; // all that decode share the draft's passes and the step: who has missed one, or guesses nothing, waits for the next
            ReadOnlySpan<int> found = [];
            int guesses = one ? Guesses(sequence, room, out found) : 0;
            if (!one)
                tokens = Math.Min(tokens, Math.Min(room, _settings.ChunkTokens));
            int held = sequence.Blocks.Count;
            tokens = tokens > 0 ? Grow(sequence, tokens) : 0;
            if (tokens == 0)
                continue;
            if (guesses > 0)
                guesses = Grow(sequence, 1 + guesses) - 1;
            plan.Sequences.Add(sequence.Plan(tokens, held, found.IsEmpty ? [] : found[..guesses], found.IsEmpty ? guesses : 0));
            room -= one ? guesses : tokens;
        }

        // 3. The queue. Who has just given way would only be in the way again.
        if (Preemptions == preemptions)
            Admit(plan, room);

        if (plan.Sequences.Count == 0)
            return null;
        plan.Epoch = _epoch;
        plan.Step = ++_step;
        plan.Finished.AddRange(_toForget);
        _toForget.Clear();
        _inFlight.Enqueue(plan);
        return plan;
    }

    /// <summary>Takes in the answer to the oldest step in flight; the progress of each sequence whose admission has not ended meanwhile, in the plan's order.</summary>
    /// <exception cref="StepMismatchException">The result does not answer that step.</exception>
    public IReadOnlyList<SequenceProgress> Apply(StepResult result)
    {
        if (!_inFlight.TryPeek(out StepPlan? plan) || result.Epoch != plan.Epoch || result.Step != plan.Step)
            throw new StepMismatchException(
                $"A worker answered epoch {result.Epoch} step {result.Step}; expected epoch {_epoch} step {plan?.Step ?? 0} (0: none is in flight).");
        if (result.Sequences.Count != plan.Sequences.Count)
            throw new StepMismatchException($"Step {plan.Step}: a worker answered {result.Sequences.Count} sequences of {plan.Sequences.Count}.");
        for (int i = 0; i < plan.Sequences.Count; i++)
            Check(plan, plan.Sequences[i], result.Sequences[i]);
        Measure(plan, result);
        _inFlight.Dequeue();

        List<SequenceProgress> progress = new(plan.Sequences.Count);
        for (int i = 0; i < plan.Sequences.Count; i++)
            if (_admitted.TryGetValue(plan.Sequences[i].SequenceId, out Sequence? sequence)) // else the admission is over
                progress.Add(Advance(sequence, plan.Sequences[i], result.Sequences[i]));
        return progress;
    }

    /// <summary>What rows of the oldest step in flight may sample that was sent before that was known; null where it has none.</summary>
    public StepMasks? FollowingMasks()
    {
        if (!_inFlight.TryPeek(out StepPlan? plan) || !plan.Sequences.Any(rows => rows.AllowedFollows))
            return null;
        StepMasks masks = new() { Epoch = plan.Epoch, Step = plan.Step };
        foreach (SequenceStep rows in plan.Sequences)
            if (rows.AllowedFollows && _admitted.TryGetValue(rows.SequenceId, out Sequence? sequence))
                masks.Masks.Add(new TokenMask { SequenceId = rows.SequenceId, Allowed = sequence.Constraint!.Allowed });
        return masks;
    }

    /// <summary>Rows of the oldest step in flight: those of sequences that compute one token, and the others.</summary>
    public (int Single, int Others) RowsInOldestStep()
    {
        int single = 0, others = 0;
        foreach (SequenceStep rows in _inFlight.TryPeek(out StepPlan? plan) ? plan.Sequences : [])
            if (rows.Tokens == 1)
                single += 1 + rows.DraftIds.Count + rows.DraftTokens;
            else
                others += rows.Tokens;
        return (single, others);
    }

    /// <summary>What a step of single tokens took, for what depends on it.</summary>
    private void Measure(StepPlan plan, StepResult result)
    {
        (int single, int others) = RowsInOldestStep();
        if (_drafts is null || others > 0)
            return;
        // Who guesses is planned when the answer has come, and so the ranks wait for it: unless they waited for want of work, that is part of the step.
        int idle = result.IdleMicroseconds < result.StepMicroseconds / 4 ? result.IdleMicroseconds : 0;
        _drafts.Observe(
            single, (idle + result.StepMicroseconds - result.DraftMicroseconds) * 1e-6, plan.Sequences.Count(rows => rows.DraftTokens > 0),
            plan.Sequences.Max(rows => rows.DraftTokens), result.DraftRows, result.DraftMicroseconds * 1e-6);
    }

    /// <summary>The group died of one of these: until each has come further than it was, they begin one at a time.</summary>
    public static void Suspect(IEnumerable<Sequence> caught)
    {
        foreach (Sequence sequence in caught)
            sequence.Unproven = true;
    }

    /// <summary>Takes a sequence out, wherever it is; its blocks are free for the next step. False where it had ended already.</summary>
    public bool Abort(Sequence sequence)
    {
        if (sequence.State == SequenceState.Finished)
            return false;
        Finish(sequence);
        return true;
    }

    /// <summary>Takes a sequence out for a while; its blocks are free for the next step, its log stays.</summary>
    public void Suspend(Sequence sequence)
    {
        if (sequence.State is SequenceState.Running or SequenceState.Waiting)
            Leave(sequence, SequenceState.Suspended);
    }

    /// <summary>Puts a suspended sequence back into the queue, where it arrived.</summary>
    public void Resume(Sequence sequence)
    {
        if (sequence.State == SequenceState.Suspended)
            Enqueue(sequence);
    }

    /// <summary>Forgets every cached prefix. How many blocks were known.</summary>
    public int FlushCache()
    {
        foreach (Sequence sequence in _running) // what they compute from here on follows a prefix that is forgotten
            sequence.IsPublishing = false;
        return _blocks.Flush();
    }

    /// <summary>What is wrong with the books while nothing runs; null where they balance, or something runs.</summary>
    public string? Imbalance() => _running.Count > 0 || _epoch == 0 ? null : _blocks.Imbalance();

    /// <summary>All blocks are free and blank again: after an imbalance.</summary>
    public void ResetBlocks() => _blocks = _running.Count == 0 ? new BlockPool(_blocks.TotalBlocks) : throw new InvalidOperationException("Sequences run.");

    private void Enqueue(Sequence sequence)
    {
        sequence.State = SequenceState.Waiting;
        Insert(_waiting, sequence);
        CountWaiting(sequence, 1);
    }

    private void CountWaiting(Sequence sequence, int sign)
    {
        WaitingTokens += sign * sequence.Tokens.Count;
        _placeless += sequence.Spec.SharesPlace ? sign : 0;
    }

    /// <summary>A running sequence back to its place in the queue, with its cursors at 0.</summary>
    private void Requeue(Sequence sequence)
    {
        Leave(sequence, SequenceState.Waiting);
        Enqueue(sequence);
    }

    private void Preempt(Sequence sequence)
    {
        Requeue(sequence);
        Preemptions++;
    }

    private void Finish(Sequence sequence) => Leave(sequence, SequenceState.Finished);

    private void Leave(Sequence sequence, SequenceState next)
    {
        switch (sequence.State)
        {
            case SequenceState.Waiting:
                _waiting.Remove(sequence);
                CountWaiting(sequence, -1);
                break;
            case SequenceState.Running:
                _running.Remove(sequence);
                _admitted.Remove(sequence.Id.Value);
                _toForget.Add(sequence.Id.Value);
                _blocks.Release(sequence.BlockSpan);
                sequence.Reset();
                break;
        }
        sequence.State = next;
    }

    private void LetTheUrgentIn()
    {
        while (_waiting.Count > 0 && _running.Count > 0 && _waiting[0].Spec.Priority > _running[^1].Spec.Priority)
        {
            Sequence urgent = _waiting[0];
            int needed = Sequence.BlocksFor(Math.Min(urgent.Known, urgent.MaxComputedTokens), _blockTokens);
            bool fits = needed <= _blocks.FreeBlocks;
            if ((fits && _running.Count < _settings.MaxSequences) || IsHeld(urgent))
                return;
            // Where all the less urgent together do not make room, none of them gives way for nothing.
            int releasable = _running.Where(sequence => sequence.Spec.Priority < urgent.Spec.Priority).Sum(sequence => sequence.Blocks.Count(block => _blocks.Holders(block) == 1));
            if (needed > _blocks.FreeBlocks + releasable)
                return;
            Preempt(_running[^1]);
        }
    }

    /// <summary>LongRoPE: the next token to compute is the first that lies beyond the border, and what is computed was rotated for below it.</summary>
    private bool Crosses(Sequence sequence) => _settings.LongRopeBeyond > 0 && !sequence.LongRope && sequence.Planned >= _settings.LongRopeBeyond;

    /// <summary>Takes the blocks for so many more tokens; how many of them have blocks. Those behind it in order give way, it does not.</summary>
    private int Grow(Sequence sequence, int tokens)
    {
        if (_settings.LongRopeBeyond > 0 && !sequence.LongRope)
            tokens = Math.Min(tokens, _settings.LongRopeBeyond - sequence.Planned);
        int needed = Sequence.BlocksFor(sequence.Planned + tokens, _blockTokens);
        while (sequence.Blocks.Count < needed)
        {
            if (_blocks.TryTake(out BlockId block))
                sequence.Hold(block);
            else if (_running[^1] != sequence)
                Preempt(_running[^1]);
            else
                break;
        }
        return Math.Min(tokens, sequence.Blocks.Count * _blockTokens - sequence.Planned);
    }

    private void Admit(StepPlan plan, int room)
    {
        int at = 0; // outputs that wait for their leader's prompt are passed over, not waited for
        while (room > 0 && at < _waiting.Count && _running.Count < _settings.MaxSequences)
        {
            Sequence sequence = _waiting[at];
            if (IsHeld(sequence))
            {
                at++;
                continue;
            }
            // One that may have killed the group begins alone, so that a second death has one cause.
            if (_running.Exists(other => other.Unproven) || (sequence.Unproven && plan.NewSequences.Count > 0) || !TryPlace(plan, sequence))
                return;
            _waiting.RemoveAt(at);
            CountWaiting(sequence, -1);
            sequence.State = SequenceState.Running;
            sequence.Id = new SequenceId(++_lastId);
            _admitted.Add(sequence.Id.Value, sequence);
            Insert(_running, sequence);
            if (sequence.Spec.DraftTokens > 0)
                sequence.Draft ??= _drafts?.Attend();
            plan.NewSequences.Add(sequence.Announce());
            int tokens = Math.Min(Math.Min(sequence.Plannable, room), _settings.ChunkTokens);
            plan.Sequences.Add(sequence.Plan(tokens, heldBefore: 0));
            room -= tokens;
        }
    }

    private static bool IsHeld(Sequence sequence) =>
        sequence.Leader is { State: SequenceState.Running } leader && leader.Computed < leader.PromptTokens && sequence.GeneratedTokens == 0;

    /// <summary>Gives a sequence the blocks of all its tokens, and sets its cursors behind those that are computed already.</summary>
    private bool TryPlace(StepPlan plan, Sequence sequence)
    {
        int known = Math.Min(sequence.Known, sequence.MaxComputedTokens);
        sequence.LongRope = _settings.LongRopeBeyond > 0 && sequence.Known > _settings.LongRopeBeyond;
        int reusable = known - 1; // the last one is computed in any case: its row is what is asked for

        // What is there already: the leader's prompt to the last token but one, else full blocks of the same beginning.
        BlockId? partial = null;
        if (sequence.Leader is { State: SequenceState.Running } leader && sequence.GeneratedTokens == 0 && leader.LongRope == sequence.LongRope && leader.Computed >= known)
        {
            int full = reusable / _blockTokens;
            for (int i = 0; i < full; i++)
                Keep(leader.Blocks[i]);
            sequence.Computed = reusable;
            if (reusable % _blockTokens > 0)
                partial = leader.Blocks[full];
        }
        else if (_settings.PrefixCache && !sequence.Spec.BypassCache && !sequence.NeedsEveryRow)
        {
            PrefixRealm realm = Realm(sequence);
            ReadOnlySpan<int> tokens = sequence.TokenSpan;
            while (sequence.Computed + _blockTokens <= reusable
                && _blocks.TryFind(realm, sequence.LastPublished, tokens.Slice(sequence.Computed, _blockTokens), out PrefixNode? node))
            {
                Keep(node.Block);
                sequence.LastPublished = node;
                sequence.PublishedBlocks++;
                sequence.Computed += _blockTokens;
            }
        }

        // Blocks for the rest, and one to spare for each sequence that grows beside it: else the first steps would only drive it out again.
        int needed = Sequence.BlocksFor(known, _blockTokens) - sequence.Blocks.Count;
        int spare = Math.Min(_running.Count, _blocks.TotalBlocks / 8);
        if (needed + spare > _blocks.FreeBlocks)
        {
            _blocks.Release(sequence.BlockSpan);
            sequence.Reset();
            return false;
        }
        for (int i = 0; i < needed; i++)
        {
            _blocks.TryTake(out BlockId block);
            if (i == 0 && partial is { } source)
                plan.Copies.Add(new BlockCopy { Source = source.Value, Destination = block.Value });
            sequence.Hold(block);
        }
        sequence.Planned = sequence.Computed;
        CacheTokens = (CacheTokens.Asked + known, CacheTokens.Found + sequence.Computed);
        if (sequence.Id.Value == 0)
            sequence.CachedTokens = sequence.Computed;
        return true;

        void Keep(BlockId block)
        {
            _blocks.Share(block);
            sequence.Hold(block);
        }
    }

    private static PrefixRealm Realm(Sequence sequence) => sequence.Spec is { CacheSalt.Length: 0, LoraId: 0 } && !sequence.LongRope
        ? PrefixRealm.Shared
        : new PrefixRealm(sequence.Spec.CacheSalt, sequence.Spec.LoraId, sequence.LongRope);

    /// <summary>How many tokens are guessed after the one row of a decoding sequence, and those that stood in its log before; where it has none the draft model guesses.</summary>
    private int Guesses(Sequence sequence, int room, out ReadOnlySpan<int> found)
    {
        found = [];
        // What is sampled of a guess must be wanted.
        int most = Math.Min(Math.Min(room, sequence.SamplesLeft - 1), sequence.MaxComputedTokens - sequence.Planned - 1);
        if (most <= 0)
            return 0;
        if (sequence.Constraint is { } constraint && constraint.Forced.Length > sequence.SamplesInFlight)
        {
            found = constraint.Forced[sequence.SamplesInFlight..];
            return Math.Min(most, found.Length);
        }
        // A lookup goes on with the last token, which must have come back; a rank has it in any case.
        if (sequence is { Drafter: { } drafter, SamplesInFlight: 0 })
            found = drafter.Guess(most);
        if (!found.IsEmpty)
            return found.Length;
        return sequence.Draft is { } record ? _drafts!.Choose(record, sequence.Known, Math.Min(most, sequence.Spec.DraftTokens)) : 0;
    }

    private static void Check(StepPlan plan, SequenceStep rows, SequenceResult computed)
    {
        int most = rows.Sample ? 1 + rows.DraftIds.Count + rows.DraftTokens : 0, least = rows.Sample && computed.Fault.Length == 0 ? 1 : 0;
        if (computed.SequenceId != rows.SequenceId || computed.TokenIds.Count > most || computed.TokenIds.Count < least)
            throw new StepMismatchException(
                $"Step {plan.Step}: sequence {rows.SequenceId} samples {least} to {most} tokens; a worker answered {computed.TokenIds.Count} of sequence {computed.SequenceId}.");
    }

    private SequenceProgress Advance(Sequence sequence, SequenceStep rows, SequenceResult computed)
    {
        int promptRows = Math.Max(0, Math.Min(sequence.PromptTokens, rows.StartPosition + rows.Tokens) - rows.StartPosition);
        if (computed.Fault.Length > 0)
        {
            Finish(sequence);
            return new SequenceProgress(sequence, [], [], [], promptRows, SequenceEnd.Fault, computed.Fault);
        }
        bool asked = sequence.Spec.TopLogprobs >= 0, askedPrompt = sequence.WantsPromptLogprobs && promptRows > 0;
        if (asked && computed.Logprobs.Count != computed.TokenIds.Count)
            throw new StepMismatchException($"Sequence {rows.SequenceId}: a worker answered {computed.Logprobs.Count} logprobs for {computed.TokenIds.Count} tokens.");
        if (askedPrompt && computed.PromptLogprobs.Count != promptRows)
            throw new StepMismatchException($"Sequence {rows.SequenceId}: a worker answered {computed.PromptLogprobs.Count} prompt logprobs for {promptRows} tokens.");

        // 1. The log grows; a token that ends the sequence is its last, whatever was guessed and taken after it.
        SequenceEnd end = SequenceEnd.None;
        int taken = 0;
        while (taken < computed.TokenIds.Count && end == SequenceEnd.None)
            end = sequence.Append(computed.TokenIds[taken++]);
        if (end == SequenceEnd.Fault)
        {
            Finish(sequence);
            return new SequenceProgress(sequence, [], [], [], promptRows, end, sequence.Constraint!.Fault!);
        }

        // 2. The cursors follow: a step of guesses has computed as many tokens more as guesses were right.
        int guesses = rows.Forced ? 0 : rows.DraftIds.Count + rows.DraftTokens;
        if (rows.Sample)
            sequence.SamplesInFlight -= rows.Forced ? 1 + rows.DraftIds.Count : 1;
        sequence.Computed += rows.Tokens + Math.Max(0, taken - 1);
        if (guesses > 0)
        {
            sequence.DraftInFlight = false;
            sequence.Planned = sequence.Computed;
            DraftTokens = (DraftTokens.Guessed + guesses, DraftTokens.Right + taken - 1);
            if (rows.DraftTokens == 0)
                sequence.Drafter?.Learn(guesses, taken - 1);
            else if (end == SequenceEnd.None)
                _drafts!.Learn(sequence.Draft!, guesses, taken - 1);
        }
        if (taken > 0)
            sequence.Unproven = false;
        if (sequence.Spec.MaxNewTokens == 0 && sequence.Computed >= sequence.PromptTokens)
            end = SequenceEnd.Length; // the prompt was all
        bool embedded = end != SequenceEnd.None && sequence.Spec.Pooling != Pooling.Unspecified;
        if (embedded && computed.Embedding.Count == 0)
            throw new StepMismatchException($"Sequence {rows.SequenceId}: a worker answered no vector.");

        // 3. What is reported for the first time: after a loss the prompt is computed again.
        int known = Math.Clamp(sequence.ReportedPromptTokens - rows.StartPosition, 0, promptRows);
        IReadOnlyList<TokenLogprobs> prompt = askedPrompt ? [.. computed.PromptLogprobs.Skip(known)] : [];
        if (askedPrompt)
            sequence.ReportedPromptTokens = Math.Max(sequence.ReportedPromptTokens, rows.StartPosition + promptRows);

        Publish(sequence);
        if (end != SequenceEnd.None)
            Finish(sequence);
        return new SequenceProgress(sequence, Taken(computed.TokenIds, taken), asked ? Taken(computed.Logprobs, taken) : [], prompt, promptRows, end, "") { Embedding = embedded ? computed.Embedding : [] };
    }

    private static IReadOnlyList<T> Taken<T>(IReadOnlyList<T> all, int taken) => taken == all.Count ? all : [.. all.Take(taken)];

    /// <summary>Blocks that are now full of computed tokens can be found by others.</summary>
    private void Publish(Sequence sequence)
    {
        if (!_settings.PrefixCache || sequence.Spec.BypassCache || !sequence.IsPublishing)
            return;
        int full = Math.Min(sequence.Computed / _blockTokens, sequence.Blocks.Count);
        if (sequence.PublishedBlocks >= full)
            return;
        PrefixRealm realm = Realm(sequence);
        for (; sequence.PublishedBlocks < full; sequence.PublishedBlocks++)
            sequence.LastPublished = _blocks.Publish(
                sequence.Blocks[sequence.PublishedBlocks], realm, sequence.LastPublished, sequence.TokenSpan.Slice(sequence.PublishedBlocks * _blockTokens, _blockTokens));
    }

    private static void Insert(List<Sequence> ordered, Sequence sequence)
    {
        int at = ordered.BinarySearch(sequence, s_order);
        ordered.Insert(at < 0 ? ~at : at, sequence);
    }

    private static readonly Comparer<Sequence> s_order = Comparer<Sequence>.Create(Sequence.Compare);
}
