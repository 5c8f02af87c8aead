using System.Globalization;
using Grpc.Core;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.Grpc;

/// <summary>Request messages that are no proto, hold text that is no UTF-8, or are too large, and timeouts that are none: a status with details, where the framework gives a bare one, or none.</summary>
/// <remarks>
/// Source   gRPC over HTTP/2, "Timeout": up to 8 digits and a unit. The framework passes over what it cannot read and fails at what a TimeSpan cannot hold.
/// The framework reads the message before any interceptor runs, and its failure to do so cannot be caught there. A call that ends UNKNOWN
/// or RESOURCE_EXHAUSTED without having reached <see cref="ErrorInterceptor"/> can only have failed in the reading, so its trailers are written anew.
/// </remarks>
internal static class MalformedMessages
{
    private const string Unknown = "2", ResourceExhausted = "8";
    private const string TimeoutUnits = "HMSmun";
    private const int LongestTimeout = 9;
    private const int NanosecondsPerTick = 100; // less is no time to the framework, and no time is no deadline
    private static readonly object s_read = new();

    /// <summary>Notes that the call's message has been read.</summary>
    public static void MarkRead(ServerCallContext context) => context.GetHttpContext().Items[s_read] = true;

    /// <summary>Middleware around the gRPC endpoints.</summary>
    public static async Task AnswerAsync(HttpContext http, RequestDelegate next)
    {
        bool grpc = EarlyRefusal.IsGrpc(http);
        if (grpc && http.Request.Headers.TryGetValue("grpc-timeout", out StringValues timeout) && TimeoutFault(timeout.ToString()) is { } wrong)
        {
            await EarlyRefusal.AnswerAsync(http, wrong);
            return;
        }
        await next(http);
        if (!grpc || http.Items.ContainsKey(s_read) || http.Response.HasStarted)
            return;
        IHeaderDictionary? trailers = new[] { http.Response.Headers, http.Features.Get<IHttpResponseTrailersFeature>()?.Trailers }
            .FirstOrDefault(headers => headers is not null && (headers.GrpcStatus == Unknown || headers.GrpcStatus == ResourceExhausted));
        if (trailers is null)
            return;
        int limit = http.RequestServices.GetRequiredService<ServingSettings>().Limits.BodyBytes;
        EarlyRefusal.Write(trailers, trailers.GrpcStatus == ResourceExhausted
            ? new ApiError(StatusCode.ResourceExhausted, "MESSAGE_TOO_LARGE", $"The request message is larger than {limit} bytes.", "message", null, $"{limit} bytes")
            : new ApiError(StatusCode.InvalidArgument, "MESSAGE_MALFORMED", "The request message is not a valid proto of its type, or text in it is not valid UTF-8."));
    }

    /// <summary>What is wrong with a grpc-timeout; null where it can be met.</summary>
    private static ApiError? TimeoutFault(string timeout)
    {
        if (timeout.Length is < 2 or > LongestTimeout || !timeout.AsSpan(0, timeout.Length - 1).ContainsOnlyDigits() || !TimeoutUnits.Contains(timeout[^1], StringComparison.Ordinal))
            return new ApiError(StatusCode.InvalidArgument, "TIMEOUT_MALFORMED", "'grpc-timeout' must be 1 to 8 digits and one of H, M, S, m, u, n.", "grpc-timeout");
        int number = int.Parse(timeout.AsSpan(0, timeout.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture);
        return number >= (timeout[^1] == 'n' ? NanosecondsPerTick : 1)
            ? null
            : new ApiError(StatusCode.DeadlineExceeded, "DEADLINE_EXCEEDED", "The deadline had come before the call: 'grpc-timeout' is 0, or less than the clock can tell.", "grpc-timeout");
    }

    private static bool ContainsOnlyDigits(this ReadOnlySpan<char> text) => !text.ContainsAnyExceptInRange('0', '9');
}
