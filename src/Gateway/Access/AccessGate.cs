using Grpc.Core;
using TpServe.Gateway.Api;
using TpServe.Gateway.Api.Grpc;

namespace TpServe.Gateway.Access;

/// <summary>Stands in front of every route and rpc: who calls, whether they may, and whether they have any of their share left.</summary>
/// <remarks>
/// Errors   UNAUTHENTICATED (401, with WWW-Authenticate) without a key or with one that is not known; PERMISSION_DENIED (403) naming the scope that is missing;
///          RESOURCE_EXHAUSTED (429) beyond a limit of the key. In the words of the route's dialect, over gRPC as a status.
/// </remarks>
internal sealed class AccessGate(KeyRing ring, KeyQuota quota)
{
    private const string BearerPrefix = "Bearer ", ApiKeyHeader = "x-api-key"; // Anthropic's clients send the latter

    /// <summary>Middleware.</summary>
    public async Task CheckAsync(HttpContext http, RequestDelegate next)
    {
        // 1. What the route asks for.
        AccessRule rule = ring.IsClosed ? AccessTable.Of(http.GetEndpoint()) : AccessRule.Open;
        if (rule == AccessRule.Open)
        {
            await next(http);
            return;
        }

        // 2. Who it is, and whether they may.
        string? key = Presented(http.Request.Headers);
        if (key is null || ring.Find(key) is not { } caller)
        {
            http.Response.Headers.WWWAuthenticate = key is null ? "Bearer realm=\"tpserve\"" : "Bearer realm=\"tpserve\", error=\"invalid_token\"";
            await EarlyRefusal.AnswerAsync(http, key is null
                ? new ApiError(StatusCode.Unauthenticated, "KEY_MISSING", "A key is needed: send 'Authorization: Bearer KEY' or 'x-api-key: KEY'.")
                : new ApiError(StatusCode.Unauthenticated, "KEY_UNKNOWN", "This key is not known here."));
            return;
        }
        http.Features.Set(caller);
        if (rule is AccessRule.Admin or AccessRule.Undecided && caller.Scope != KeyScope.Admin || rule == AccessRule.Undecided)
        {
            await EarlyRefusal.AnswerAsync(http, new ApiError(
                StatusCode.PermissionDenied, "SCOPE_MISSING", $"Key '{caller.Name}' has scope {KeyFile.WordOf(caller.Scope)}; this asks for scope admin.", null, KeyFile.WordOf(caller.Scope), "admin"));
            return;
        }

        // 3. Its share.
        if (rule != AccessRule.Generate)
        {
            await next(http);
            return;
        }
        (IDisposable? lease, ApiError? refusal) = quota.Enter(caller, http.Response.Headers);
        if (refusal is not null)
        {
            await EarlyRefusal.AnswerAsync(http, refusal);
            return;
        }
        using (lease)
            await next(http);
    }

    private static string? Presented(IHeaderDictionary headers)
    {
        string given = headers.Authorization.ToString();
        if (given.StartsWith(BearerPrefix, StringComparison.OrdinalIgnoreCase))
            return given[BearerPrefix.Length..].Trim();
        return headers.TryGetValue(ApiKeyHeader, out Microsoft.Extensions.Primitives.StringValues key) && key.ToString() is { Length: > 0 } text ? text.Trim() : null;
    }
}
