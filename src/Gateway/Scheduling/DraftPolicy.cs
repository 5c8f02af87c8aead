namespace TpServe.Gateway.Scheduling;

/// <summary>What is known of the draft model's guesses for one sequence.</summary>
/// <param name="right">What is expected of them.</param>
internal sealed class DraftRecord(double right)
{
    /// <summary>Of a guess whose predecessors were right, how likely it is right: a moving mean.</summary>
    public double Right { get; set; } = right;
}

/// <summary>How many tokens the draft model guesses in a step: as many as give most tokens a second, by what was measured.</summary>
/// <remarks>
/// Guesses of which each is right with probability a, given that those before it are, give Σ aʲ tokens, j = 0..k; the step takes the time of the target's pass over the
/// rows of all and of k passes of the draft, which all share. The depth k that is best for the batch is taken, and none where none pays. A sequence whose guesses are
/// worse than the others' has fewer: as long as its next one is worth the row.
/// What is not tried is not known, so: the plain step is measured first, and again now and then; sometimes a neighbour of the best depth is taken; where guesses do
/// not pay they rest, and are tried again after a number of steps that doubles while they still do not; and while they pay for nobody most sequences are left
/// alone from the start, which spares the draft their prompts.
/// Guesses change no token, so nothing here can.
/// Source   Leviathan, Kalman and Matias 2023, §3.3 (expected tokens and walltime).
/// Threads  one caller at a time.
/// </remarks>
/// <param name="settings">What it may do at most.</param>
internal sealed class DraftPolicy(DraftSettings settings)
{
    private const int FirstGuesses = 4, ProbeGuesses = 3;
    private const int PlainEvery = 64, NeighbourEvery = 16, AttendEvery = 8; // steps, steps, sequences
    private const int FirstRest = 16, LongestRest = 256; // steps
    private const double Memory = 0.98, LongMemory = 0.99; // of one guess's outcome
    private const double Advantage = 1.03; // that guesses must have over none: less is lost in the noise of what was measured

    private readonly PassTimes _target = new(), _draft = new();
    private double _right = 0.8; // over all sequences
    private int _guessing, _rest = FirstRest, _rested, _passedOver;
    private int _depth;
    private double _worth; // how likely right a guess must be

    /// <summary>A record for a sequence that begins, or null where it is left alone.</summary>
    public DraftRecord? Attend()
    {
        bool pays = !_draft.IsMeasured || Best([new DraftRecord(_right)], batch: 1, out _) > 0;
        return pays || ++_passedOver % AttendEvery == 0 ? new DraftRecord(_right) : null;
    }

    /// <summary>A step is planned in which so many sequences compute one token each, those of the records among them.</summary>
    public void BeginStep(int batch, IReadOnlyList<DraftRecord> records)
    {
        (_depth, _worth) = (0, 0);
        if (batch == 0 || records.Count == 0 || !_target.Has(batch))
            return; // a plain one, which is measured
        if (!_draft.IsMeasured)
        {
            _depth = FirstGuesses;
            return;
        }
        int best = Best(records, batch, out double rate);
        if (best == 0)
        {
            Rest(records, batch);
            return;
        }
        (_rest, _rested) = (FirstRest, 0);
        _guessing++;
        if (_guessing % PlainEvery == 0)
            return;
        if (_guessing % NeighbourEvery == 0)
        {
            _depth = Math.Max(1, best + (_guessing / NeighbourEvery % 2 == 0 ? 1 : -1));
            return;
        }
        _depth = best;
        _worth = rate * (_target.Of(batch + best * records.Count) - _target.Of(batch)) / (best * records.Count);
    }

    /// <summary>How many tokens are guessed for a sequence in the step begun.</summary>
    /// <param name="record">Its own.</param>
    /// <param name="tokens">Its length.</param>
    /// <param name="limit">Most that it may have.</param>
    public int Choose(DraftRecord record, int tokens, int limit)
    {
        int guesses = Math.Max(0, Math.Min(Math.Min(_depth, limit), settings.MaxTokens - tokens + 1));
        while (guesses > 0 && Math.Pow(record.Right, guesses) < _worth)
            guesses--;
        return guesses;
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

    private void Rest(IReadOnlyList<DraftRecord> records, int batch)
    {
        if (_rested == 0 && Best([.. records.Select(_ => new DraftRecord(right: 1))], batch, out _) == 0)
            _rest = LongestRest; // not that guesses are wrong: they cost too much
        if (++_rested < _rest)
            return;
        (_rest, _rested) = (Math.Min(2 * _rest, LongestRest), 0);
        _depth = ProbeGuesses;
    }

    /// <summary>The depth that gives most tokens a second, and how many; 0 where none gives more than no guesses at all.</summary>
    private int Best(IReadOnlyList<DraftRecord> records, int batch, out double rate)
    {
        rate = Advantage * batch / _target.Of(batch);
        double pass = _draft.Of(records.Count);
        int best = 0;
        for (int depth = 1; depth <= settings.Guesses; depth++)
        {
            double tokens = batch;
            foreach (DraftRecord record in records)
                tokens += Expected(record.Right, depth);
            double own = tokens / (_target.Of(batch + depth * records.Count) + depth * pass);
            if (own > rate)
                (rate, best) = (own, depth);
        }
        return best;
    }

    /// <summary>Guesses that are right of so many: Σ aʲ, j = 1..k.</summary>
    private static double Expected(double right, int guesses)
    {
        double sum = 0;
        for (int guess = 0; guess < guesses; guess++)
            sum = right * (1 + sum);
        return sum;
    }
}
