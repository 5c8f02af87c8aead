namespace TpServe.Grammar.Pushdown;

/// <summary>Runs a program over bytes. States are made when first met and remembered, so that a step mostly is one look into a table.</summary>
/// <remarks>
/// A state is the set of all readings, as in a nondeterministic pushdown; deterministic parts of a grammar have one.
/// A call whose rule ends the caller too leaves no frame behind, so right recursion needs no stack.
/// Threads  any; making a state takes a lock, a known step does not.
/// Errors   <see cref="GrammarException"/> (Limit) where a text has too many readings.
/// </remarks>
internal sealed class PushdownAutomaton(PushdownProgram program, GrammarLimits limits)
{
    private const int MostRemembered = 8_000;
    private const int StateWork = 4; // readings that take as long as making a state of none

    private readonly Lock _lock = new();
    private readonly Dictionary<ReadingSet, ParseState> _states = [];

    public PushdownProgram Program { get; } = program;

    public GrammarLimits Limits { get; } = limits;

    /// <summary>The state before the first byte.</summary>
    public ParseState Start()
    {
        lock (_lock)
            return StateOf([Ended(new Reading(Program.Start, null))]);
    }

    /// <summary>The state of one reading.</summary>
    public ParseState StateOf(Reading reading)
    {
        lock (_lock)
            return StateOf([Ended(reading)]);
    }

    /// <summary>The state after a byte; <see cref="ParseState.Dead"/> where it is not allowed.</summary>
    public ParseState Step(ParseState state, byte value)
    {
        return state.Known(value) ?? Make();

        ParseState Make()
        {
            lock (_lock)
            {
                HashSet<Reading> reached = [];
                foreach (Reading reading in state.Active)
                    if (Program.Step(reading.Node, value) is >= 0 and int target)
                    {
                        RunBudget.Spend(WorkOf(reading));
                        reached.Add(Ended(new Reading(target, reading.Stack)));
                    }
                List<Reading> kernel = [.. reached];
                kernel.Sort();
                ParseState next = kernel.Count == 0 ? ParseState.Dead : StateOf([.. kernel]);
                state.Remember(value, next);
                return next;
            }
        }
    }

    // Equal stacks that were not made together are compared frame by frame.
    private static long WorkOf(Reading reading) => 1 + ((reading.Stack?.Depth ?? 0) / 8);

    // A rule that is over gives way to its caller at once, so that equal places are equal states.
    private Reading Ended(Reading reading)
    {
        while (reading.Stack is Frame frame && frame != Frame.Base && Program.IsEnd(reading.Node))
            reading = new Reading(frame.Return, frame.Parent);
        return reading;
    }

    private ParseState StateOf(Reading[] kernel)
    {
        ReadingSet key = new(kernel);
        if (_states.TryGetValue(key, out ParseState? known))
            return known;
        if (_states.Count >= MostRemembered)
            _states.Clear();
        ParseState state = Close(kernel);
        _states.Add(key, state);
        return state;
    }

    private ParseState Close(Reading[] kernel)
    {
        List<Reading> open = [.. kernel];
        HashSet<Reading> seen = [.. kernel];
        List<Reading> active = [];
        bool accepts = false, returns = false;
        int depth = 0;
        for (int i = 0; i < open.Count; i++)
        {
            Reading reading = open[i];
            depth = Math.Max(depth, reading.Stack?.Depth ?? 0);
            if (Program.HasBytes(reading.Node))
                active.Add(reading);
            foreach (RuleCall call in Program.CallsOf(reading.Node))
            {
                Frame? stack = Program.IsEnd(call.Return) ? reading.Stack : new Frame(call.Return, reading.Stack);
                if ((stack?.Depth ?? 0) <= Limits.StackDepth)
                    Add(new Reading(call.Start, stack));
            }
            if (!Program.IsAccepting(reading.Node))
                continue;
            if (reading.Stack is null)
                accepts = true;
            else if (reading.Stack == Frame.Base)
                returns = true;
            else
                Add(new Reading(reading.Stack.Return, reading.Stack.Parent));
        }
        RunBudget.Spend(StateWork);
        if (seen.Count > Limits.Readings)
            throw GrammarException.Limit("readings of the output at once", Limits.Readings);
        return new ParseState(kernel, [.. active], accepts, returns, depth);

        void Add(Reading reading)
        {
            RunBudget.Spend(WorkOf(reading));
            if (seen.Count <= Limits.Readings && seen.Add(reading))
                open.Add(reading);
        }
    }

    private readonly struct ReadingSet(Reading[] readings) : IEquatable<ReadingSet>
    {
        private readonly Reading[] _readings = readings;

        public bool Equals(ReadingSet other) => _readings.AsSpan().SequenceEqual(other._readings);

        public override bool Equals(object? obj) => obj is ReadingSet other && Equals(other);

        public override int GetHashCode()
        {
            HashCode hash = default;
            foreach (Reading reading in _readings)
                hash.Add(reading);
            return hash.ToHashCode();
        }
    }
}
