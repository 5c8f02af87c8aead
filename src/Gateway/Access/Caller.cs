using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Access;

/// <summary>A key in use: who makes a call, owns its requests and pays for their tokens.</summary>
/// <param name="key">The key.</param>
/// <param name="clock">Its minutes.</param>
public sealed class Caller(AccessKey key, TimeProvider clock)
{
    /// <summary>The key's name.</summary>
    public string Name => key.Name;

    /// <summary>What it may do.</summary>
    public KeyScope Scope => key.Scope;

    /// <summary>What it may use.</summary>
    public KeyLimits Limits => key.Limits;

    /// <summary>Its tokens; null = they are not limited.</summary>
    public TokenBudget? Tokens { get; } = key.Limits.TokensPerMinute is { } most ? new TokenBudget(most, clock) : null;

    internal AccessKey Key => key;

    /// <summary>Who makes the call; null = the server has no keys.</summary>
    public static Caller? Of(HttpContext http)
    {
        ArgumentNullException.ThrowIfNull(http);
        return http.Features.Get<Caller>();
    }

    /// <summary>Whether who calls may see, resume or end what the owner made: its own, and with admin everybody's. A server without keys has one owner of everything.</summary>
    public static bool MayTouch(Caller? caller, Caller? owner) => caller is null || caller.Scope == KeyScope.Admin || owner?.Name == caller.Name;

    /// <summary>Tokens have been computed for it.</summary>
    public void Charge(int tokens) => Tokens?.Charge(tokens);
}

/// <summary>Ties a request to the call that brought it.</summary>
internal static class CallBinding
{
    private static readonly object s_id = new();

    /// <summary>The request with its owner; the call's log line will have its id.</summary>
    public static ValidatedRequest BoundTo(this ValidatedRequest request, HttpContext http)
    {
        http.Items[s_id] = request.RequestId;
        return Caller.Of(http) is { } caller ? request with { Owner = caller } : request;
    }

    /// <summary>Id of the request that a call brought; null = none got so far.</summary>
    public static string? RequestIdOf(HttpContext http) => http.Items.TryGetValue(s_id, out object? id) ? (string?)id : null;
}

/// <summary>Tokens a minute: what was used flows back evenly, up to one minute's worth.</summary>
/// <remarks>
/// What a call will cost is known only when it has ended, so one may begin as long as anything is left, and what it uses beyond that is owed: the next one waits for it.
/// Threads  any.
/// </remarks>
public sealed class TokenBudget(int perMinute, TimeProvider clock)
{
    private readonly Lock _gate = new();
    private double _left = perMinute; // below zero: owed
    private long _at = clock.GetTimestamp();

    /// <summary>A minute's worth.</summary>
    public int PerMinute => perMinute;

    /// <summary>What is left now, and how long until it is whole again.</summary>
    public (int Left, TimeSpan Reset) Now()
    {
        lock (_gate)
        {
            Flow();
            return ((int)Math.Max(0, _left), Time(perMinute - _left));
        }
    }

    /// <summary>How long until a call may begin; zero = it may.</summary>
    public TimeSpan Wait()
    {
        lock (_gate)
        {
            Flow();
            return _left >= 1 ? TimeSpan.Zero : Time(1 - _left);
        }
    }

    /// <summary>Takes so many, whether they are there or not.</summary>
    public void Charge(int tokens)
    {
        lock (_gate)
        {
            Flow();
            _left -= tokens;
        }
    }

    private TimeSpan Time(double tokens) => TimeSpan.FromMinutes(tokens / perMinute);

    private void Flow()
    {
        long now = clock.GetTimestamp();
        _left = Math.Min(perMinute, _left + (clock.GetElapsedTime(_at, now).TotalMinutes * perMinute));
        _at = now;
    }
}
