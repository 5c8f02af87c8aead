using System.Diagnostics;

namespace TpServe.Grammar.Automata;

/// <summary>What a compilation has left: work by count, states by count, time by a deadline.</summary>
/// <remarks>Threads  one compilation, one thread.</remarks>
internal sealed class CompileBudget(GrammarLimits limits)
{
    private const long WorkBetweenLooks = 1 << 14;

    private readonly long _started = Stopwatch.GetTimestamp();
    private long _work;
    private long _nextLook;
    private long _states;

    public GrammarLimits Limits { get; } = limits;

    /// <summary>The work done so far.</summary>
    public long Work => _work;

    /// <summary>Counts work.</summary>
    /// <exception cref="GrammarException">Too much of it, or the time is over.</exception>
    public void Spend(long work)
    {
        _work += work;
        if (_work < _nextLook)
            return;
        _nextLook = _work + WorkBetweenLooks;
        if (_work > Limits.Work)
            throw GrammarException.Limit("work of compiling", Limits.Work);
        if (Stopwatch.GetElapsedTime(_started) > Limits.CompileTime)
            throw new GrammarException(GrammarErrorKind.Limit, "time of compiling", "", $"more than {Limits.CompileTime.TotalSeconds} s");
    }

    /// <summary>Counts states that live at once or after one another.</summary>
    public void AddStates(long states)
    {
        _states += states;
        if (_states > Limits.States)
            throw GrammarException.Limit("states", Limits.States);
        Spend(states);
    }

    /// <summary>States that were only a step on the way are given back; the work stays.</summary>
    public void ReturnStates(long states) => _states -= states;
}
