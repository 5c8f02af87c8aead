namespace TpServe.Gateway.Scheduling;

/// <summary>What is known of the draft model's guesses for one sequence.</summary>
internal sealed class DraftRecord
{
    /// <summary>Of a guess whose predecessors were right, how likely it is right: a moving mean.</summary>
    public required double Right { get; set; }

    /// <summary>Tokens that pass between two attempts while guesses do not pay.</summary>
    public int Rest { get; set; } = DraftPolicy.FirstRest;

    /// <summary>Length of the sequence at which it is tried again; 0 = it does not rest.</summary>
    public int ProbeAt { get; set; }
}

/// <summary>How many tokens the draft model guesses for a sequence: as many as give most tokens a second, by what was measured.</summary>
/// <remarks>
/// Guesses of which each is right with probability a, given that those before it are, give Σ aʲ tokens, j = 0..k; the step takes the time of the target's pass over 1 + k
/// rows a sequence and of k passes of the draft, as if the whole batch did alike. The k that is best is taken, and none where none pays.
/// What is not tried is not known, so: the plain step is measured first, and again now and then; sometimes a neighbour of the best k is taken; a sequence for which
/// guesses do not pay rests, and tries again after a stretch of tokens that doubles while they still do not; and while they pay for nobody most sequences
/// are left alone from the start, which spares the draft their prompts.
/// Guesses change no token, so nothing here can.
/// Source   Leviathan, Kalman and Matias 2023, §3.3 (expected tokens and walltime).
/// Threads  one caller at a time.
/// </remarks>
/// <param name="settings">What it may do at most.</param>
internal sealed class DraftPolicy(DraftSettings settings)
{
    /// <summary>Tokens of the first and of the longest rest.</summary>
    internal const int FirstRest = 16, LongestRest = 256;

    private const int FirstGuesses = 4, ProbeGuesses = 3;
    private const int PlainEvery = 64, NeighbourEvery = 16, AttendEvery = 8;
    private const double Memory = 0.9, LongMemory = 0.98; // of one guess's outcome
    private const double Advantage = 1.05; // that guesses must have over none

    private readonly PassTimes _target = new(), _draft = new();
    private double _right = 0.8; // over all sequences
    private long _guessed, _passedOver;
    private int _batch = 1;
    private bool _isPlain;

    /// <summary>A record for a sequence that begins, or null where it is left alone.</summary>
    public DraftRecord? Attend()
    {
        bool pays = !_draft.IsMeasured || Best(_right, batch: 1, settings.Guesses) > 0;
        return pays || ++_passedOver % AttendEvery == 0 ? new DraftRecord { Right = _right } : null;
    }

    /// <summary>A step is planned in which so many sequences compute one token each.</summary>
    public void BeginStep(int batch)
    {
        if (batch == 0)
            return; // nobody will ask
        _batch = batch;
        bool isDue = _guessed > 0 && _guessed % PlainEvery == 0;
        if (isDue)
            _guessed++;
        _isPlain = isDue || !_target.Has(batch);
    }

    /// <summary>How many tokens are guessed for a sequence in the step begun.</summary>
    /// <param name="record">Its own.</param>
    /// <param name="tokens">Its length.</param>
    /// <param name="limit">Most that it may have.</param>
    public int Choose(DraftRecord record, int tokens, int limit)
    {
        limit = Math.Min(Math.Min(limit, settings.Guesses), settings.MaxTokens - tokens + 1);
        if (limit < 1 || _isPlain)
            return 0;
        if (!_draft.IsMeasured)
            return Math.Min(limit, FirstGuesses);
        int best = Best(record.Right, _batch, limit);
        if (best > 0)
        {
            (record.Rest, record.ProbeAt) = (FirstRest, 0);
            _guessed++;
            return _guessed % NeighbourEvery != 0 ? best : Math.Clamp(best + (_guessed / NeighbourEvery % 2 == 0 ? 1 : -1), 1, limit);
        }
        if (record.ProbeAt == 0)
        {
            if (Best(right: 1, _batch, limit) == 0)
                record.Rest = LongestRest; // not the guesses are wrong: they cost too much
            record.ProbeAt = tokens + record.Rest;
        }
        if (tokens < record.ProbeAt)
            return 0;
        record.Rest = Math.Min(2 * record.Rest, LongestRest);
        record.ProbeAt = tokens + record.Rest;
        return Math.Min(limit, ProbeGuesses);
    }

    /// <summary>Of so many guesses for a sequence the first few were right.</summary>
    public void Learn(DraftRecord record, int guessed, int right)
    {
        for (int guess = 0; guess < Math.Min(guessed, right + 1); guess++) // of those after the first wrong one nobody knows
        {
            double outcome = guess < right ? 1 : 0;
            record.Right = Memory * record.Right + (1 - Memory) * outcome;
            _right = LongMemory * _right + (1 - LongMemory) * outcome;
        }
    }

    /// <summary>A step has run in which every sequence computed one token, and guesses behind it.</summary>
    /// <param name="rows">Of the target's pass.</param>
    /// <param name="targetSeconds">What it took.</param>
    /// <param name="guessing">Sequences that the draft guessed for.</param>
    /// <param name="passes">The draft's, for the one that guessed most.</param>
    /// <param name="draftRows">Rows of those.</param>
    /// <param name="draftSeconds">What they took.</param>
    public void Observe(int rows, double targetSeconds, int guessing, int passes, int draftRows, double draftSeconds)
    {
        _target.Observe(rows, targetSeconds);
        if (passes > 0 && draftRows <= 2 * guessing * passes) // else it caught up with what it had rested for
            _draft.Observe(guessing, draftSeconds / passes);
    }

    /// <summary>The number of guesses that gives most tokens a second; 0 where none gives more than none at all.</summary>
    private int Best(double right, int batch, int limit)
    {
        double rate = Advantage / _target.Of(batch), expected = 1, likely = 1;
        int best = 0;
        for (int guesses = 1; guesses <= limit; guesses++)
        {
            likely *= right;
            expected += likely;
            double own = expected / (_target.Of((1 + guesses) * batch) + guesses * _draft.Of(batch));
            if (own > rate)
                (rate, best) = (own, guesses);
        }
        return best;
    }
}
