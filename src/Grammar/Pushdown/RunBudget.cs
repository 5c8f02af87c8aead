namespace TpServe.Grammar.Pushdown;

/// <summary>What the operation that runs on this thread may still cost: states are made as they are met, and an ambiguous grammar can have very many, each of very many readings.</summary>
/// <remarks>
/// Who runs a matcher may hold a lock that others wait for, so an operation is bounded as a compilation is. What was made before costs nothing.
/// Threads  each has its own.
/// Errors   <see cref="GrammarException"/> (Limit) from <see cref="Spend"/>.
/// </remarks>
internal static class RunBudget
{
    [ThreadStatic]
    private static long s_most; // 0 = nothing is bounded

    [ThreadStatic]
    private static long s_spent;

    /// <summary>An operation begins that may cost so much.</summary>
    public static void Begin(long most) => (s_most, s_spent) = (Math.Max(most, 1), 0);

    /// <summary>It is over. What it cost.</summary>
    public static long End()
    {
        long spent = s_spent;
        (s_most, s_spent) = (0, 0);
        return spent;
    }

    /// <summary>Counts readings that are looked at.</summary>
    /// <exception cref="GrammarException">There are too many.</exception>
    public static void Spend(long readings)
    {
        s_spent += readings;
        if (s_most > 0 && s_spent > s_most)
            throw new GrammarException(GrammarErrorKind.Limit, "readings of the output", "", "the grammar is too ambiguous: what may follow takes too long to find");
    }
}
