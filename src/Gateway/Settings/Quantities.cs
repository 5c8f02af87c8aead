using System.Globalization;
using TpServe.Sharding;

namespace TpServe.Gateway.Settings;

/// <summary>Durations as settings write them: 5 (seconds), 500ms, 5s, 2m, 1h, 00:02:00.</summary>
internal static class Durations
{
    private static readonly (string Suffix, TimeSpan Unit)[] s_units =
        [("ms", TimeSpan.FromMilliseconds(1)), ("s", TimeSpan.FromSeconds(1)), ("m", TimeSpan.FromMinutes(1)), ("h", TimeSpan.FromHours(1))];

    /// <summary>False for what is no duration, or is longer than a TimeSpan.</summary>
    public static bool TryParse(string text, out TimeSpan duration)
    {
        // Two colons: hh:mm alone would be read as minutes by some and as hours by others.
        if (text.Count(c => c == ':') == 2)
            return TimeSpan.TryParse(text, CultureInfo.InvariantCulture, out duration) && duration >= TimeSpan.Zero;
        foreach ((string suffix, TimeSpan unit) in s_units)
            if (text.EndsWith(suffix, StringComparison.OrdinalIgnoreCase))
                return TryScale(text[..^suffix.Length], unit, out duration);
        return TryScale(text, TimeSpan.FromSeconds(1), out duration);
    }

    /// <summary>With the largest unit that leaves a whole number: "2m", "1500ms".</summary>
    public static string Format(TimeSpan duration)
    {
        foreach ((string suffix, TimeSpan unit) in s_units.Reverse())
            if (duration.Ticks % unit.Ticks == 0 && (duration > TimeSpan.Zero || suffix == "s"))
                return string.Create(CultureInfo.InvariantCulture, $"{duration.Ticks / unit.Ticks}{suffix}");
        return string.Create(CultureInfo.InvariantCulture, $"{duration.TotalMilliseconds}ms");
    }

    private static bool TryScale(string number, TimeSpan unit, out TimeSpan duration)
    {
        duration = TimeSpan.Zero;
        if (!decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal value) || value > long.MaxValue / unit.Ticks)
            return false;
        duration = TimeSpan.FromTicks((long)(value * unit.Ticks));
        return true;
    }
}

/// <summary>Bytes as settings write them: 65536B, 64KiB, 512MiB, 1.5GiB, 1TiB.</summary>
internal static class ByteSizes
{
    private static readonly (string Suffix, long Unit)[] s_units = [("TiB", 1L << 40), ("GiB", 1L << 30), ("MiB", 1L << 20), ("KiB", 1L << 10), ("B", 1)];

    /// <summary>False without a unit, and for what does not fit 63 bits.</summary>
    public static bool TryParse(string text, out long bytes)
    {
        bytes = 0;
        foreach ((string suffix, long unit) in s_units)
            if (text.EndsWith(suffix, StringComparison.OrdinalIgnoreCase))
            {
                if (!decimal.TryParse(text.AsSpan(0, text.Length - suffix.Length), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal value) || value > long.MaxValue / unit)
                    return false;
                bytes = (long)(value * unit);
                return true;
            }
        return false;
    }

    /// <summary>With the largest unit that leaves a whole number.</summary>
    public static string Format(long bytes)
    {
        (string suffix, long unit) = s_units.First(entry => bytes % entry.Unit == 0 && (bytes > 0 || entry.Unit == 1));
        return string.Create(CultureInfo.InvariantCulture, $"{bytes / unit}{suffix}");
    }
}

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
