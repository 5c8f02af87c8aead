namespace TpServe.Gateway.Api;

/// <summary>Which release this is, and since when it runs.</summary>
public sealed class ServerClock(TimeProvider clock)
{
    private readonly long _start = clock.GetTimestamp();

    /// <summary>The clock itself.</summary>
    public TimeProvider Time => clock;

    /// <summary>The release.</summary>
    public static string Version { get; } = typeof(ServerClock).Assembly.GetName().Version?.ToString(3)
        ?? throw new InvalidOperationException("The assembly has no version.");

    /// <summary>Seconds since 1970 at start.</summary>
    public long StartedAt { get; } = clock.GetUtcNow().ToUnixTimeSeconds();

    /// <summary>Seconds since 1970 now.</summary>
    public long Now => clock.GetUtcNow().ToUnixTimeSeconds();

    /// <summary>Time since start.</summary>
    public TimeSpan Uptime => clock.GetElapsedTime(_start);
}
