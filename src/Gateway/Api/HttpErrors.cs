using System.Globalization;
using Grpc.Core;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api;

/// <summary>Turns exceptions of the endpoints into error bodies of the route's dialect; the only place that does.</summary>
public sealed class HttpErrors(ServingSettings settings, InferenceEngine engine, ILogger<HttpErrors> log)
{
    /// <summary>The handler, with its failures answered.</summary>
    public RequestDelegate Guard(Func<HttpContext, Task> handle) => async http =>
    {
        try
        {
            await handle(http);
        }
        catch (Exception) when (http.RequestAborted.IsCancellationRequested)
        {
            // The client has left: nobody is there to read an answer, and the engine has logged it.
        }
        catch (BadHttpRequestException bad)
        {
            await AnswerAsync(http, bad.StatusCode, new ApiError(StatusCode.InvalidArgument, "BAD_REQUEST", bad.Message, "body"));
        }
        catch (Exception failure)
        {
            ApiError error = Tell(http, failure);
            await AnswerAsync(http, error.HttpStatus, error);
        }
    };

    /// <summary>The failure as clients see it, after the log has heard of it.</summary>
    public ApiError Tell(HttpContext http, Exception failure)
    {
        ArgumentNullException.ThrowIfNull(http);
        ApiError error = ErrorDialect.Of(http).Named(ApiError.From(failure, engine.TimeToRoom() ?? settings.RetryAfter));
        if (error.IsInternal)
            ApiLog.Failed(log, RequestLog.RouteOf(http), failure);
        else
            ApiLog.Refused(log, RequestLog.RouteOf(http), error);
        return error;
    }

    /// <summary>Writes the error as a whole answer, or, where a stream has begun, as its last event.</summary>
    public static async Task AnswerAsync(HttpContext http, int status, ApiError error)
    {
        ArgumentNullException.ThrowIfNull(http);
        ArgumentNullException.ThrowIfNull(error);
        ErrorDialect dialect = ErrorDialect.Of(http);
        if (http.Response.HasStarted)
        {
            await dialect.EndStreamAsync(http, status, error);
            return;
        }
        http.Response.StatusCode = status;
        if (error.RetryAfter is { } delay)
            http.Response.Headers.RetryAfter = Math.Max(1, (int)Math.Ceiling(delay.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        if (error.IsFinal)
            http.Response.Headers["x-should-retry"] = "false"; // OpenAI's and Anthropic's clients heed it
        await dialect.AnswerAsync(http, status, error);
    }
}
