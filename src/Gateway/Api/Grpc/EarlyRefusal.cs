using System.Globalization;
using Grpc.Core;

namespace TpServe.Gateway.Api.Grpc;

/// <summary>A call that is refused before its endpoint runs: over gRPC as a status with details and nothing before it, over HTTP in the words of the route's dialect.</summary>
internal static class EarlyRefusal
{
    /// <summary>Whether the call is gRPC's, whatever version of HTTP carries it.</summary>
    public static bool IsGrpc(HttpContext http) => http.Request.ContentType?.StartsWith("application/grpc", StringComparison.Ordinal) == true;

    /// <summary>Answers it.</summary>
    /// <param name="http">The call.</param>
    /// <param name="error">Why.</param>
    /// <param name="status">HTTP's status where the canonical code's is not it.</param>
    public static Task AnswerAsync(HttpContext http, ApiError error, int? status = null)
    {
        if (!IsGrpc(http))
            return HttpErrors.AnswerAsync(http, status ?? error.HttpStatus, error);
        http.Response.ContentType = "application/grpc";
        Write(http.Response.Headers, error);
        return Task.CompletedTask;
    }

    /// <summary>Writes the error as gRPC's trailers, wherever those stand.</summary>
    public static void Write(IHeaderDictionary trailers, ApiError fault)
    {
        RpcException error = ErrorInterceptor.ToRpcException(fault);
        trailers.GrpcStatus = ((int)error.StatusCode).ToString(CultureInfo.InvariantCulture);
        string detail = error.Status.Detail;
        trailers.GrpcMessage = detail.All(letter => letter is >= ' ' and <= '~' and not '%') ? detail : Uri.EscapeDataString(detail); // gRPC over HTTP/2, "Percent-Encoded"
        foreach (Metadata.Entry entry in error.Trailers)
            trailers[entry.Key] = Convert.ToBase64String(entry.ValueBytes).TrimEnd('=');
    }
}
