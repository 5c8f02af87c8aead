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

    /// <summary>UNIMPLEMENTED: this release does not serve the field.</summary>
    public static RequestRejectedException Unimplemented(string field) =>
        new(StatusCode.Unimplemented, "FIELD_NOT_IMPLEMENTED", $"'{field}' is not implemented in this release.", field);
}
