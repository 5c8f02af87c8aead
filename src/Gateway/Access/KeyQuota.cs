using System.Globalization;
using System.Threading.RateLimiting;
using Grpc.Core;
using TpServe.Gateway.Api;

namespace TpServe.Gateway.Access;

/// <summary>What each key uses of the server, against its limits: calls a minute, calls at once, tokens a minute.</summary>
/// <remarks>A key that never calls takes no memory: the limiters are made when they are needed and go when they are full again.</remarks>
public sealed class KeyQuota : IDisposable
{
    private static readonly TimeSpan s_minute = TimeSpan.FromMinutes(1), s_streamRetry = TimeSpan.FromSeconds(1);

    /// <summary>The headers that say what is left.</summary>
    public static IReadOnlyList<string> Headers { get; } =
        [.. from what in new[] { "requests", "tokens", "streams" } from kind in new[] { "limit", "remaining", "reset" } select $"x-ratelimit-{kind}-{what}"];

    // A limit that changes with the file is another partition.
    private readonly PartitionedRateLimiter<Caller> _requests = PartitionedRateLimiter.Create<Caller, (string name, int most)>(caller =>
        caller.Limits.RequestsPerMinute is { } most
            ? RateLimitPartition.GetTokenBucketLimiter((caller.Name, most), static key => new TokenBucketRateLimiterOptions
            {
                TokenLimit = key.most,
                TokensPerPeriod = 1,
                ReplenishmentPeriod = s_minute / key.most,
                QueueLimit = 0,
            })
            : RateLimitPartition.GetNoLimiter((caller.Name, 0)));

    private readonly PartitionedRateLimiter<Caller> _streams = PartitionedRateLimiter.Create<Caller, (string name, int most)>(caller =>
        caller.Limits.Streams is { } most
            ? RateLimitPartition.GetConcurrencyLimiter((caller.Name, most), static key => new ConcurrencyLimiterOptions { PermitLimit = key.most, QueueLimit = 0 })
            : RateLimitPartition.GetNoLimiter((caller.Name, 0)));

    /// <summary>Begins a call: what is to be disposed when it ends, or why it may not begin. Tells the client what is left either way.</summary>
    internal (IDisposable? Lease, ApiError? Refusal) Enter(Caller caller, IHeaderDictionary headers)
    {
        RateLimitLease stream = _streams.AttemptAcquire(caller);
        ApiError? refusal = null;
        if (!stream.IsAcquired)
            refusal = Refusal(caller, "STREAM_LIMIT", "calls at once", caller.Limits.Streams, s_streamRetry);
        else if (caller.Tokens?.Wait() is { } wait && wait > TimeSpan.Zero)
            refusal = Refusal(caller, "TOKEN_LIMIT", "tokens a minute", caller.Limits.TokensPerMinute, wait);
        else
        {
            using RateLimitLease request = _requests.AttemptAcquire(caller);
            if (!request.IsAcquired)
                refusal = Refusal(caller, "REQUEST_LIMIT", "requests a minute", caller.Limits.RequestsPerMinute,
                    request.TryGetMetadata(MetadataName.RetryAfter, out TimeSpan retry) ? retry : s_minute / caller.Limits.RequestsPerMinute!.Value);
        }
        Tell(caller, headers);
        if (refusal is null)
            return (stream, null);
        stream.Dispose();
        return (null, refusal);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _requests.Dispose();
        _streams.Dispose();
    }

    private static ApiError Refusal(Caller caller, string reason, string what, int? limit, TimeSpan retryAfter) => new(
        StatusCode.ResourceExhausted, reason, string.Create(CultureInfo.InvariantCulture, $"Key '{caller.Name}' has used its {limit} {what}."), Limit: $"{limit} {what}", RetryAfter: retryAfter);

    /// <summary>The headers that OpenAI's clients know.</summary>
    private void Tell(Caller caller, IHeaderDictionary headers)
    {
        if (caller.Limits.RequestsPerMinute is { } requests)
        {
            long left = _requests.GetStatistics(caller)?.CurrentAvailablePermits ?? requests;
            Tell("requests", requests, left, s_minute * (requests - left) / requests);
        }
        if (caller.Tokens is { } tokens)
        {
            (int left, TimeSpan reset) = tokens.Now();
            Tell("tokens", tokens.PerMinute, left, reset);
        }
        if (caller.Limits.Streams is { } streams)
            Tell("streams", streams, _streams.GetStatistics(caller)?.CurrentAvailablePermits ?? streams, null);

        void Tell(string what, int limit, long left, TimeSpan? reset)
        {
            headers[$"x-ratelimit-limit-{what}"] = limit.ToString(CultureInfo.InvariantCulture);
            headers[$"x-ratelimit-remaining-{what}"] = left.ToString(CultureInfo.InvariantCulture);
            if (reset is { } time)
                headers[$"x-ratelimit-reset-{what}"] = string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.###}s");
        }
    }
}
