using TpServe.Protos.Worker;

namespace TpServe.Gateway.Scheduling;

/// <summary>Names one admission of a sequence towards the workers; never used twice while the gateway lives.</summary>
public readonly record struct SequenceId(ulong Value);

/// <summary>What is to be computed for one sequence.</summary>
public sealed record SequenceSpec
{
    /// <summary>Token ids of the prompt; at least one.</summary>
    public required IReadOnlyList<int> Prompt { get; init; }

    /// <summary>Most tokens to generate; 0 = only the prompt is computed.</summary>
    public required int MaxNewTokens { get; init; }

    /// <summary>Resolved sampling; prompt_tokens is filled in by <see cref="Sequence"/>.</summary>
    public required SamplingParameters Sampling { get; init; }

    /// <summary>Ids that end the sequence. (Before min_tokens the sampler excludes them, so the scheduler need not ask.)</summary>
    public IReadOnlySet<int> EndTokens { get; init; } = new HashSet<int>();

    /// <summary>Likeliest tokens reported with each sampled token; -1 = not even its own logprob.</summary>
    public int TopLogprobs { get; init; } = -1;

    /// <summary>The same for each prompt token; -1 = none.</summary>
    public int PromptLogprobs { get; init; } = -1;

    /// <summary>Larger runs earlier and gives way later; -100 to 100.</summary>
    public int Priority { get; init; }

    /// <summary>Shares cached prefixes only with sequences of the same salt; empty = with all that have none.</summary>
    public string CacheSalt { get; init; } = "";

    /// <summary>Adapter that its rows go through; 0 = none.</summary>
    public int LoraId { get; init; }

    /// <summary>Neither reads nor fills the prefix cache.</summary>
    public bool BypassCache { get; init; }

    /// <summary>Most tokens guessed ahead in one step; 0 = none. Changes no token.</summary>
    public int DraftTokens { get; init; }

    /// <summary>What its output must be; null = anything. Called once for the sequence.</summary>
    public Func<ITokenConstraint>? Constraint { get; init; }

    /// <summary>Which hidden states make the prompt's vector, where it is embedded and nothing is generated.</summary>
    public Pooling Pooling { get; init; }

    /// <summary>It stands in the queue beside another of its request, which counts for both.</summary>
    public bool SharesPlace { get; init; }

    /// <summary>They are looked up in the log; else only a draft model guesses, where there is one.</summary>
    public bool LooksUp { get; init; } = true;
}

/// <summary>Where a sequence is on its way.</summary>
public enum SequenceState
{
    /// <summary>In the queue; holds nothing.</summary>
    Waiting,

    /// <summary>Holds the blocks of what is planned and takes part in steps.</summary>
    Running,

    /// <summary>Neither queues nor runs; holds nothing, goes on where it was once it is resumed.</summary>
    Suspended,

    /// <summary>Holds nothing any more.</summary>
    Finished,
}

/// <summary>One output on its way: its token log, and the cursors that say how far along it is what.</summary>
/// <remarks>
/// Known ≥ Planned ≥ Computed. Known counts the tokens that exist, samples in flight included; Planned those that steps sent so far compute;
/// Computed those whose keys and values are in the cache by steps that have answered. A step plans from Planned towards Known and samples when it
/// reaches Known. A hit in the prefix cache, preemption, the loss of the group and LongRoPE's crossing are assignments to the cursors: the log alone
/// decides what comes next, so whatever ran before, the continuation has the same tokens.
/// </remarks>
public sealed class Sequence
{
    private readonly List<int> _tokens;
    private readonly List<BlockId> _blocks = [];

    /// <param name="spec">What is to be computed.</param>
    /// <param name="leader">Another output of the same request with the same prompt, whose computed prompt this one shares; null = none.</param>
    public Sequence(SequenceSpec spec, Sequence? leader = null)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentOutOfRangeException.ThrowIfZero(spec.Prompt.Count);
        ArgumentOutOfRangeException.ThrowIfNegative(spec.MaxNewTokens);
        Spec = spec;
        Leader = leader;
        _tokens = [.. spec.Prompt];
        Constraint = spec.Constraint?.Invoke();
        Drafter = spec is { DraftTokens: > 0, LooksUp: true } ? new PromptLookup(_tokens, spec.DraftTokens) : null;
    }

    /// <summary>Its present name towards the workers; each admission has a new one.</summary>
    public SequenceId Id { get; internal set; }

    /// <summary>What was asked for.</summary>
    public SequenceSpec Spec { get; }

    /// <summary>Where it is.</summary>
    public SequenceState State { get; internal set; }

    /// <summary>The log: prompt, then what was generated.</summary>
    public IReadOnlyList<int> Tokens => _tokens;

    /// <summary>Length of the prompt.</summary>
    public int PromptTokens => Spec.Prompt.Count;

    /// <summary>Tokens generated so far.</summary>
    public int GeneratedTokens => _tokens.Count - PromptTokens;

    /// <summary>Tokens whose keys and values it can ever need: the last generated token is never computed.</summary>
    public int MaxComputedTokens => PromptTokens + Math.Max(Spec.MaxNewTokens, 1) - 1;

    /// <summary>The blocks it holds, in order of its tokens.</summary>
    public IReadOnlyList<BlockId> Blocks => _blocks;

    /// <summary>Prompt tokens that its first admission found computed.</summary>
    public int CachedTokens { get; internal set; }

    /// <summary>Tokens that exist, those included that steps in flight sample.</summary>
    public int Known => _tokens.Count + SamplesInFlight;

    /// <summary>Tokens that steps sent so far compute.</summary>
    public int Planned { get; internal set; }

    /// <summary>Tokens computed by steps that have answered.</summary>
    public int Computed { get; internal set; }

    /// <summary>It ran in a step that the group did not survive, and has not come beyond that point since.</summary>
    public bool Unproven { get; internal set; }

    /// <summary>The output whose prompt it shares.</summary>
    internal Sequence? Leader { get; }

    /// <summary>Its place among those of equal priority: order of arrival.</summary>
    internal long Ticket { get; set; }

    internal int SamplesInFlight { get; set; }

    /// <summary>A step in flight computes guesses: where the next row begins is known when it has answered.</summary>
    internal bool DraftInFlight { get; set; }

    /// <summary>Its prompt's logprobs have all been reported: an admission from then on need not ask again.</summary>
    internal int ReportedPromptTokens { get; set; }

    /// <summary>Rotated by LongRoPE's factors for long sequences in this admission.</summary>
    internal bool LongRope { get; set; }

    /// <summary>What it computes can become findable: false once the cache has been flushed under it, until it is admitted anew.</summary>
    internal bool IsPublishing { get; set; } = true;

    /// <summary>Leading blocks whose content the pool knows, and the node of the last of them.</summary>
    internal int PublishedBlocks { get; set; }

    internal PrefixNode? LastPublished { get; set; }

    internal PromptLookup? Drafter { get; }

    /// <summary>What may come next after the log; null = anything.</summary>
    internal ITokenConstraint? Constraint { get; }

    /// <summary>What the draft model's guesses are worth here; null = it leaves the sequence alone.</summary>
    internal DraftRecord? Draft { get; set; }

    /// <summary>KV blocks needed to hold <see cref="MaxComputedTokens"/>.</summary>
    public int BlocksNeeded(int blockTokens) => BlocksFor(MaxComputedTokens, blockTokens);

    internal static int BlocksFor(int tokens, int blockTokens) => (tokens + blockTokens - 1) / blockTokens;

    /// <summary>Tokens a step could compute now.</summary>
    internal int Plannable => DraftInFlight ? 0 : Math.Min(Known, MaxComputedTokens) - Planned;

    /// <summary>Tokens it may still sample, those in flight not counted.</summary>
    internal int SamplesLeft => Spec.MaxNewTokens - (Known - PromptTokens);

    internal ReadOnlySpan<int> TokenSpan => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_tokens);

    internal ReadOnlySpan<BlockId> BlockSpan => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_blocks);

    /// <summary>The log grows; whether and why it ends with this token.</summary>
    internal SequenceEnd Append(int token)
    {
        _tokens.Add(token);
        if (Spec.EndTokens.Contains(token))
            return SequenceEnd.EndToken;
        if (Constraint is { } constraint)
        {
            constraint.Take(token);
            if (constraint.IsComplete || constraint.Fault is not null)
                return constraint.IsComplete ? SequenceEnd.Complete : SequenceEnd.Fault;
        }
        return GeneratedTokens >= Spec.MaxNewTokens ? SequenceEnd.Length : SequenceEnd.None;
    }

    /// <summary>Its rows in the next step, after which the cursors stand.</summary>
    /// <param name="tokens">Tokens to compute.</param>
    /// <param name="heldBefore">Blocks that the workers know of.</param>
    /// <param name="draft">Guesses after them, or what the constraint forces.</param>
    /// <param name="draftTokens">Guesses that the draft model is to make.</param>
    internal SequenceStep Plan(int tokens, int heldBefore, ReadOnlySpan<int> draft = default, int draftTokens = 0)
    {
        bool sample = Planned + tokens == Known && SamplesLeft > 0;
        SequenceStep rows = new() { SequenceId = Id.Value, StartPosition = Planned, Tokens = tokens, Sample = sample, DraftTokens = draftTokens };
        for (int block = heldBefore; block < _blocks.Count; block++)
            rows.NewBlocks.Add(_blocks[block].Value);
        foreach (int guess in draft)
            rows.DraftIds.Add(guess);
        if (sample && Constraint is { } constraint)
        {
            int ahead = SamplesInFlight + draft.Length; // the row's own token comes after so many that are not in the log yet
            (rows.Forced, rows.AllowedFollows) = (draft.Length > 0, ahead > constraint.Forced.Length);
            if (!rows.AllowedFollows)
                rows.Allowed = constraint.AllowedAfter(ahead);
        }
        int certain = rows.Forced ? draft.Length : 0;
        Planned += tokens + certain;
        DraftInFlight = draft.Length + draftTokens > certain;
        if (sample)
            SamplesInFlight += 1 + certain;
        return rows;
    }

    internal void Hold(BlockId block) => _blocks.Add(block);

    /// <summary>Back to the start: it holds nothing, and nothing of it is planned or computed. The log stays.</summary>
    internal void Reset()
    {
        _blocks.Clear();
        Planned = Computed = SamplesInFlight = PublishedBlocks = 0;
        DraftInFlight = false;
        IsPublishing = true;
        LastPublished = null;
    }

    /// <summary>Which of two goes first: the more urgent, then the earlier.</summary>
    internal static int Compare(Sequence a, Sequence b) =>
        a.Spec.Priority != b.Spec.Priority ? b.Spec.Priority.CompareTo(a.Spec.Priority) : a.Ticket.CompareTo(b.Ticket);

    /// <summary>The sequence whole, for workers that have not seen this admission.</summary>
    internal NewSequence Announce()
    {
        SamplingParameters sampling = Spec.Sampling.Clone();
        sampling.PromptTokens = PromptTokens;
        NewSequence announced = new()
        {
            SequenceId = Id.Value,
            Sampling = sampling,
            TopLogprobs = Spec.TopLogprobs,
            PromptLogprobs = WantsPromptLogprobs ? Spec.PromptLogprobs : -1,
            ComputedTokens = Computed,
            LongRope = LongRope,
            Drafts = Draft is not null,
            Pooling = Spec.Pooling,
            LoraId = Spec.LoraId,
        };
        announced.TokenIds.AddRange(_tokens);
        return announced;
    }

    /// <summary>What is to be reported of the prompt needs all its rows: a cached prefix would leave them out.</summary>
    internal bool NeedsEveryRow => WantsPromptLogprobs || Spec.Pooling is Pooling.Mean or Pooling.First;

    /// <summary>Prompt logprobs are asked for and not all reported.</summary>
    internal bool WantsPromptLogprobs => Spec.PromptLogprobs >= 0 && ReportedPromptTokens < PromptTokens;
}
