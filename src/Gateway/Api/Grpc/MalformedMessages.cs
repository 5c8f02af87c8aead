using Grpc.Core;
using Microsoft.AspNetCore.Http.Features;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.Grpc;

/// <summary>Request messages that are no proto, hold text that is no UTF-8, or are too large: a status with details, where the framework gives a bare one.</summary>
/// <remarks>
/// The framework reads the message before any interceptor runs, and its failure to do so cannot be caught there. A call that ends UNKNOWN
/// or RESOURCE_EXHAUSTED without having reached <see cref="ErrorInterceptor"/> can only have failed in the reading, so its trailers are written anew.
/// </remarks>
internal static class MalformedMessages
{
    private const string Unknown = "2", ResourceExhausted = "8";
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
            .FirstOrDefault(headers => headers is not null && (headers.GrpcStatus == Unknown || headers.GrpcStatus == ResourceExhausted));
        if (trailers is null)
            return;
        int limit = http.RequestServices.GetRequiredService<ServingSettings>().Limits.BodyBytes;
        RpcException error = ErrorInterceptor.ToRpcException(trailers.GrpcStatus == ResourceExhausted
            ? new ApiError(StatusCode.ResourceExhausted, "MESSAGE_TOO_LARGE", $"The request message is larger than {limit} bytes.", "message", null, $"{limit} bytes")
            : new ApiError(StatusCode.InvalidArgument, "MESSAGE_MALFORMED", "The request message is not a valid proto of its type, or text in it is not valid UTF-8."));
        trailers.GrpcStatus = ((int)error.StatusCode).ToString(System.Globalization.CultureInfo.InvariantCulture);
        trailers.GrpcMessage = error.Status.Detail;
        foreach (Metadata.Entry entry in error.Trailers)
            trailers[entry.Key] = Convert.ToBase64String(entry.ValueBytes).TrimEnd('=');
    }
}
