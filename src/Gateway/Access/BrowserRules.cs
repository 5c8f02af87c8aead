using System.Net;
using Grpc.Core;
using Microsoft.AspNetCore.Http.Features;
using TpServe.Gateway.Api;
using TpServe.Gateway.Api.Grpc;
using TpServe.Gateway.Api.OpenApi;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Access;

/// <summary>Keeps pages of other sites from having somebody's browser call a server that only that browser's host can reach.</summary>
/// <remarks>
/// Host     names the server by loopback, by address, or by a name of the settings: a name that an attacker lets point here (DNS rebinding) is none of them. 421.
/// Origin   is the server's own, or one of the settings; browsers send it with every call of another page that could do something. 403.
/// Content  is JSON wherever a body is taken: what a page may send anywhere without asking first is not read. 415. What `curl -d` calls a body, a form, and a body of no
///          named kind are read where no browser sent them, which says so by Origin or Sec-Fetch-Site.
/// </remarks>
internal sealed class BrowserRules(ServingSettings settings)
{
    private const string FormType = "application/x-www-form-urlencoded";

    /// <summary>Middleware.</summary>
    public async Task CheckAsync(HttpContext http, RequestDelegate next)
    {
        HttpRequest request = http.Request;
        string origin = request.Headers.Origin.ToString();
        if (!IsKnownHost(request.Host))
            await EarlyRefusal.AnswerAsync(http, new ApiError(
                StatusCode.PermissionDenied, "HOST_UNKNOWN", "The server is not called so: it answers to localhost, to its addresses, and to the names of --allowed-host.", "Host"), StatusCodes.Status421MisdirectedRequest);
        else if (origin.Length > 0 && !IsKnownOrigin(origin, request.Host))
            await EarlyRefusal.AnswerAsync(http, new ApiError(
                StatusCode.PermissionDenied, "ORIGIN_FOREIGN", "Pages of other origins may not call this server; --cors names those that may.", "Origin"));
        else if (TakesJson(http) && !IsJson(request, origin))
            await EarlyRefusal.AnswerAsync(http, new ApiError(
                StatusCode.InvalidArgument, "CONTENT_TYPE", "The body must be JSON and say so: 'Content-Type: application/json'.", "Content-Type"), StatusCodes.Status415UnsupportedMediaType);
        else
            await next(http);
    }

    private bool IsKnownHost(HostString host) =>
        settings.Hosts is null || !host.HasValue // HTTP/1.0, which no browser speaks
        || host.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || host.Host.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase)
        || IPAddress.TryParse(host.Host.Trim('[', ']'), out _)
        || settings.Hosts.Contains(host.Host, StringComparer.OrdinalIgnoreCase);

    // The scheme is not compared: what stands before the server may have taken TLS off.
    private bool IsKnownOrigin(string origin, HostString host) =>
        settings.CorsOrigins.Contains("*") || settings.CorsOrigins.Contains(origin, StringComparer.OrdinalIgnoreCase)
        || Uri.TryCreate(origin, UriKind.Absolute, out Uri? page) && page.Host.Equals(host.Host, StringComparison.OrdinalIgnoreCase)
        && (host.Port is { } port ? page.Port == port : page.IsDefaultPort);

    private static bool TakesJson(HttpContext http) =>
        http.GetEndpoint()?.Metadata.GetMetadata<RouteFacts>()?.Takes is not null && http.Features.Get<IHttpRequestBodyDetectionFeature>()?.CanHaveBody != false;

    private static bool IsJson(HttpRequest request, string origin) => request.HasJsonContentType()
        || origin.Length == 0 && !request.Headers.ContainsKey("Sec-Fetch-Site") && (request.ContentType is null || request.ContentType.StartsWith(FormType, StringComparison.OrdinalIgnoreCase));
}
