using System.Diagnostics;
using System.Globalization;
using Microsoft.AspNetCore.Http.Features;
using TpServe.Gateway.Access;

namespace TpServe.Gateway.Api;

/// <summary>One line for each call: method, route, status, time, request id, and the name of the key it came with.</summary>
/// <remarks>The route is the pattern that is mapped, not the path that was sent, so nothing that a client writes reaches the line but a request id, which has its own form.</remarks>
internal sealed partial class RequestLog(TimeProvider clock, ILogger<RequestLog> log)
{
    private const string None = "-";

    /// <summary>Middleware, around all others.</summary>
    public async Task WriteAsync(HttpContext http, RequestDelegate next)
    {
        long began = clock.GetTimestamp();
        if (Activity.Current is { IsAllDataRequested: true } call) // the framework's, which whoever called may have begun a trace for
            call.SetTag("http.request.method", MethodOf(http)).SetTag("http.route", RouteOf(http)).DisplayName = $"{MethodOf(http)} {RouteOf(http)}";
        try
        {
            await next(http);
        }
        finally
        {
            // What a probe asks every few seconds is worth no line.
            LogLevel level = AccessTable.Of(http.GetEndpoint()) == AccessRule.Open || RouteOf(http) == Telemetry.PrometheusEndpoint.Path ? LogLevel.Debug : LogLevel.Information;
            if (log.IsEnabled(level))
            {
                (string method, string route, string status) = (MethodOf(http), RouteOf(http), StatusOf(http));
                (double milliseconds, string request, string key) = (clock.GetElapsedTime(began).TotalMilliseconds, CallBinding.RequestIdOf(http) ?? None, Caller.Of(http)?.Name ?? None);
                Served(log, level, method, route, status, milliseconds, request, key);
            }
        }
    }

    /// <summary>The pattern or rpc that a call went to.</summary>
    public static string RouteOf(HttpContext http) => AccessTable.PathOf(http.GetEndpoint()) ?? None;

    // A method is any word that a client likes.
    private static string MethodOf(HttpContext http) => HttpMethods.GetCanonicalizedValue(http.Request.Method) is { Length: <= 7 } method && method.All(char.IsAsciiLetterUpper) ? method : None;

    /// <summary>HTTP's status, and gRPC's where it has one.</summary>
    public static string StatusOf(HttpContext http)
    {
        string grpc = http.Response.Headers.GrpcStatus.ToString();
        if (grpc.Length == 0)
            grpc = http.Features.Get<IHttpResponseTrailersFeature>()?.Trailers.GrpcStatus.ToString() ?? "";
        return grpc.Length > 0 ? $"gRPC {grpc}" : http.Response.StatusCode.ToString(CultureInfo.InvariantCulture);
    }

    [LoggerMessage(EventId = 1202, Message = "{Method} {Route} {Status} in {Milliseconds:F1} ms, request {RequestId}, key {Key}")]
    private static partial void Served(ILogger logger, LogLevel level, string method, string route, string status, double milliseconds, string requestId, string key);
}
