namespace TpServe.Chaos.Faults;

/// <summary>Something that goes wrong.</summary>
/// <param name="Name">For the report.</param>
/// <param name="IsLoss">It ends the group's epoch, always; else it may or may not.</param>
/// <param name="Starves">While it lasts the group cannot start, so that the circuit may open and requests be refused with that reason.</param>
/// <param name="InjectAsync">Makes it happen, lasts as long as it does, and puts right what does not mend itself.</param>
internal sealed record Fault(string Name, bool IsLoss, bool Starves, Func<Random, Task> InjectAsync)
{
    /// <summary>A worker ends by its own doing, as far as the gateway can know: what ran is suspect.</summary>
    public bool IsCrash { get; init; }
}

/// <summary>Times at random.</summary>
internal static class RandomTimes
{
    /// <summary>Waits between two numbers of seconds.</summary>
    public static Task DelayAsync(this Random random, double least, double most) => Task.Delay(TimeSpan.FromSeconds(least + (most - least) * random.NextDouble()));

    /// <summary>One of several.</summary>
    public static T OneOf<T>(this Random random, IReadOnlyList<T> choices) => choices[random.Next(choices.Count)];

    /// <summary>True so often out of a hundred.</summary>
    public static bool Percent(this Random random, int share) => random.Next(100) < share;

    /// <summary>Cards so often, in any order.</summary>
    public static Queue<T> Shuffled<T>(this Random random, IEnumerable<T> cards)
    {
        T[] deck = [.. cards];
        random.Shuffle(deck);
        return new Queue<T>(deck);
    }
}
