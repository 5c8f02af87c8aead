using Grpc.Core;
using Microsoft.AspNetCore.Http.Features;

namespace TpServe.Gateway.Api.Grpc;

/// <summary>Request messages that are no proto, or hold text that is no UTF-8: INVALID_ARGUMENT, where the framework would say UNKNOWN.</summary>
/// <remarks>
/// The framework reads the message before any interceptor runs, and its failure to do so cannot be caught there. A call that ends UNKNOWN without
/// having reached <see cref="ErrorInterceptor"/> can only have failed in the reading, so its trailers are written anew.
/// </remarks>
internal static class MalformedMessages
{
    private const string Unknown = "2";
    private static readonly object s_read = new();

    /// <summary>Notes that the call's message has been read.</summary>
    public static void MarkRead(ServerCallContext context) => context.GetHttpContext().Items[s_read] = true;

    /// <summary>Middleware around the gRPC endpoints.</summary>
    public static async Task AnswerAsync(HttpContext http, RequestDelegate next)
    {
        await next(http);
        if (http.Items.ContainsKey(s_read) || http.Response.HasStarted || http.Request.ContentType?.StartsWith("application/grpc", StringComparison.Ordinal) != true)
            return;
        IHeaderDictionary? trailers = new[] { http.Response.Headers, http.Features.Get<IHttpResponseTrailersFeature>()?.Trailers }
            .FirstOrDefault(headers => headers is not null && headers.GrpcStatus == Unknown);
        if (trailers is null)
            return;
        RpcException error = ErrorInterceptor.ToRpcException(new ApiError(
            StatusCode.InvalidArgument, "MESSAGE_MALFORMED", "The request message is not a valid proto of its type, or text in it is not valid UTF-8."));
        trailers.GrpcStatus = ((int)error.StatusCode).ToString(System.Globalization.CultureInfo.InvariantCulture);
        trailers.GrpcMessage = error.Status.Detail;
        foreach (Metadata.Entry entry in error.Trailers)
            trailers[entry.Key] = Convert.ToBase64String(entry.ValueBytes).TrimEnd('=');
    }
}
