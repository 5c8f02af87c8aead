using System.Globalization;
using Grpc.Core;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>Turns exceptions of the endpoints into OpenAI error bodies; the only place that does.</summary>
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
            ApiError error = ApiError.From(failure, engine.TimeToRoom() ?? settings.RetryAfter);
            if (error.IsInternal)
                ApiLog.Failed(log, http.Request.Path, failure);
            else
                ApiLog.Refused(log, http.Request.Path, $"{error.Status}", error.Reason, error.Message);
            await AnswerAsync(http, error.HttpStatus, error);
        }
    };

    /// <summary>Writes the error as a whole answer, or, where a stream has begun, as its last event.</summary>
    public static async Task AnswerAsync(HttpContext http, int status, ApiError error)
    {
        ErrorReply reply = new(new ErrorReply.Detail(error.Message, Type(status), error.Field, error.Reason.ToLowerInvariant()));
        if (http.Response.HasStarted)
        {
            await new SseStream(http).WriteAsync(reply, OpenAiJson.Api.ErrorReply);
            return;
        }
        http.Response.StatusCode = status;
        if (error.RetryAfter is { } delay)
            http.Response.Headers.RetryAfter = Math.Max(1, (int)Math.Ceiling(delay.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        if (error.IsFinal)
            http.Response.Headers["x-should-retry"] = "false"; // OpenAI's clients heed it
        await JsonBody.WriteAsync(http, reply, OpenAiJson.Api.ErrorReply);
    }

    private static string Type(int status) => status switch
    {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        >= 500 => "server_error",
        _ => "invalid_request_error",
    };
}
