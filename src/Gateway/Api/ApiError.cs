using Grpc.Core;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Scheduling;

namespace TpServe.Gateway.Api;

/// <summary>A failure as clients see it, the same over gRPC and HTTP.</summary>
/// <param name="Status">Canonical code; HTTP's is derived from it.</param>
/// <param name="Reason">UPPER_SNAKE_CASE, for programs to compare.</param>
/// <param name="Message">For people; names thing, value and limit.</param>
/// <param name="Field">The request's field at fault, if one is.</param>
/// <param name="Value">What it holds.</param>
/// <param name="Limit">What it may hold.</param>
/// <param name="RetryAfter">When trying again may help; null = never.</param>
public sealed record ApiError(
    StatusCode Status, string Reason, string Message, string? Field = null, string? Value = null, string? Limit = null, TimeSpan? RetryAfter = null)
{
    /// <summary>The one place that says which exception is which status. Unknown ones are INTERNAL and keep their message to themselves.</summary>
    public static ApiError From(Exception failure, TimeSpan retryAfter) => failure switch
    {
        RequestRejectedException rejected =>
            new(rejected.Status, rejected.Reason, rejected.Message, rejected.Field, rejected.Value, rejected.Limit),
        QueueFullException full =>
            new(StatusCode.ResourceExhausted, "QUEUE_FULL", full.Message, null, $"{full.Waiting}", $"{full.Limit}", retryAfter),
        EngineUnavailableException unavailable => new(StatusCode.Unavailable, unavailable.Reason, unavailable.Message, RetryAfter: retryAfter),
        DeadlineExceededException late => new(StatusCode.DeadlineExceeded, "DEADLINE_EXCEEDED", late.Message),
        RequestFaultException fault => new(fault.IsAsked ? StatusCode.FailedPrecondition : StatusCode.Internal, fault.Reason, fault.Message, fault.IsAsked ? "constraint" : null),
        StreamTakenOverException taken => new(StatusCode.Aborted, "STREAM_TAKEN_OVER", taken.Message),
        EngineFailedException failed => new(StatusCode.Internal, "ENGINE_FAILED", failed.Message),
        OperationCanceledException => new(StatusCode.Cancelled, "CANCELLED", "The client cancelled the request."),
        _ => new(StatusCode.Internal, "INTERNAL", "The server met a fault of its own; its log says more."),
    };

    /// <summary>Whether the fault is the server's own, so that its log must hold the exception.</summary>
    public bool IsInternal => Status is StatusCode.Internal or StatusCode.Unknown;

    /// <summary>Whether the same request would be refused again, however often it is sent.</summary>
    public bool IsFinal => Status is StatusCode.InvalidArgument or StatusCode.FailedPrecondition or StatusCode.OutOfRange or StatusCode.Unimplemented
        or StatusCode.NotFound or StatusCode.PermissionDenied or StatusCode.Unauthenticated;

    /// <summary>The HTTP status of the canonical code. What is not served is the client's to mend: clients try again whatever is 500 or more.</summary>
    public int HttpStatus => Status switch
    {
        StatusCode.InvalidArgument or StatusCode.FailedPrecondition or StatusCode.OutOfRange or StatusCode.Unimplemented => 400,
        StatusCode.Unauthenticated => 401,
        StatusCode.PermissionDenied => 403,
        StatusCode.NotFound => 404,
        StatusCode.AlreadyExists or StatusCode.Aborted => 409,
        StatusCode.ResourceExhausted => 429,
        StatusCode.Cancelled => 499, // nobody is there to read it
        StatusCode.Unavailable => 503,
        StatusCode.DeadlineExceeded => 504,
        _ => 500,
    };
}

/// <summary>What the API logs; ids 1200 to 1299. Prompts and outputs never are.</summary>
internal static partial class ApiLog
{
    private const int LongestField = 40;

    [LoggerMessage(1200, LogLevel.Information, "{Route} refused: {Status} {Reason} {Detail}")]
    private static partial void RefusedLine(ILogger logger, string route, StatusCode status, string reason, string detail);

    /// <summary>What a client did wrong is told by the name of the field alone: the message can quote what was sent. What is the server's matter is told in full.</summary>
    public static void Refused(ILogger logger, string route, ApiError error)
    {
        if (!logger.IsEnabled(LogLevel.Information))
            return;
        bool isOurs = error.Status is StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.ResourceExhausted or StatusCode.Aborted;
        string detail = isOurs ? Printable(error.Message) : FieldOf(error);
        RefusedLine(logger, route, error.Status, error.Reason, detail);
    }

    // The rest of a path may be names of the client's own.
    private static string FieldOf(ApiError error) =>
        error.Field?.Split('.', '[')[0] is { Length: > 0 and <= LongestField } name && name.All(letter => char.IsAsciiLetter(letter) || letter is '_' or '-') ? name : "";

    /// <summary>The text with its control characters escaped.</summary>
    public static string Printable(string text) => !text.Any(char.IsControl)
        ? text
        : string.Concat(text.Select(letter => char.IsControl(letter) ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"\\u{(int)letter:x4}") : letter.ToString()));

    [LoggerMessage(1201, LogLevel.Error, "{Method} failed")]
    public static partial void Failed(ILogger logger, string method, Exception fault);
}
