using TpServe.Sharding;

namespace TpServe.Gateway.Settings;

/// <summary>A quantity of every worker: one for all of them, one each, or none.</summary>
/// <param name="Values">By seat where there are several.</param>
public sealed record PerRank<T>(IReadOnlyList<T> Values)
    where T : struct
{
    /// <summary>What holds for a worker; the type's zero where nothing does.</summary>
    public T At(int seat) => Values.Count switch { 0 => default, 1 => Values[0], _ => Values[seat] };

    /// <summary>Several must be as many as there are workers.</summary>
    /// <exception cref="ShardingException">They are not; names the flag and both numbers.</exception>
    public void RequireFor(int workers, string flag)
    {
        if (Values.Count > 1 && Values.Count != workers)
            throw new ShardingException(FormattableString.Invariant($"{flag} has {Values.Count} values for {workers} {(workers == 1 ? "worker" : "workers")}: give one for all, or one each."));
    }
}
