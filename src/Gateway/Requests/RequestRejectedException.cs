using Grpc.Core;

namespace TpServe.Gateway.Requests;

/// <summary>One request is refused at the door: which field, its value, the limit, and the status the client sees.</summary>
public sealed class RequestRejectedException : Exception
{
    public RequestRejectedException(StatusCode status, string reason, string message, string? field = null, string? value = null, string? limit = null)
        : base(message)
    {
        Status = status;
        Reason = reason;
        Field = field;
        Value = value;
        Limit = limit;
    }

    /// <summary>The status; HTTP's is derived from it.</summary>
    public StatusCode Status { get; }

    /// <summary>UPPER_SNAKE_CASE name of the fault, for programs to compare.</summary>
    public string Reason { get; }

    /// <summary>The field at fault, by its name in the proto; null = none.</summary>
    public string? Field { get; }

    /// <summary>What the field holds, where that is short and no prompt text.</summary>
    public string? Value { get; }

    /// <summary>What it may hold.</summary>
    public string? Limit { get; }

    /// <summary>INVALID_ARGUMENT: a field holds what it may not.</summary>
    public static RequestRejectedException OutOfRange(string field, string value, string limit) =>
        new(StatusCode.InvalidArgument, "OUT_OF_RANGE", $"'{field}' is {value}; it must be {limit}.", field, value, limit);

    /// <summary>INVALID_ARGUMENT: a field is malformed or does not fit another.</summary>
    public static RequestRejectedException Invalid(string field, string message) =>
        new(StatusCode.InvalidArgument, "INVALID_FIELD", message, field);

    /// <summary>INVALID_ARGUMENT: prompt and output cannot fit the context.</summary>
    /// <param name="tokens">The prompt's: a number, or "more than" one.</param>
    /// <param name="maxModelLen">The context.</param>
    public static RequestRejectedException PromptTooLong(string tokens, int maxModelLen) => new(
        StatusCode.InvalidArgument, "PROMPT_TOO_LONG", $"The prompt has {tokens} tokens; the context is {maxModelLen} tokens, prompt and output together.",
        "prompt", tokens, $"max_model_len {maxModelLen}");

    /// <summary>INVALID_ARGUMENT: the request alone is more than the queue ever takes, so that trying again cannot help.</summary>
    /// <param name="brings">What it brings, in words.</param>
    /// <param name="limit">The limit, with its flag.</param>
    public static RequestRejectedException BeyondTheQueue(string brings, string limit) => new(
        StatusCode.InvalidArgument, "REQUEST_TOO_LARGE", $"The request brings {brings}; the server's queue takes at most {limit}. Send its prompts in several requests.",
        "prompt", brings, limit);

    /// <summary>UNIMPLEMENTED: this release does not serve the field.</summary>
    public static RequestRejectedException Unimplemented(string field) =>
        new(StatusCode.Unimplemented, "FIELD_NOT_IMPLEMENTED", $"'{field}' is not implemented in this release.", field);
}
