using Microsoft.Extensions.Primitives;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api;

/// <summary>X-Request-Id: what a client or a proxy calls one HTTP call, or what the server does; the answer carries it.</summary>
/// <remarks>It names the request in logs, in Abort and in events too, unless the body has a request_id of its own.</remarks>
internal static class CallId
{
    private const string Header = "X-Request-Id";

    /// <summary>The id that the call came with; null = none.</summary>
    /// <exception cref="RequestRejectedException">It is no id.</exception>
    public static string? Given(HttpContext http, RequestLimits limits)
    {
        if (!http.Request.Headers.TryGetValue(Header, out StringValues header) || StringValues.IsNullOrEmpty(header))
            return null;
        string id = header.ToString();
        return limits.IsRequestId(id) ? id : throw RequestRejectedException.OutOfRange(Header, $"{id.Length} characters", limits.RequestIdInWords);
    }

    /// <summary>Tells the client what its call is called.</summary>
    public static void Tell(HttpContext http, string id) => http.Response.Headers[Header] = id;
}
