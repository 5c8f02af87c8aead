using Google.Rpc;
using Grpc.Core;

namespace TpServe.Client;

/// <summary>A call failed: what the server said of it, or that it could not be reached.</summary>
public sealed class TpServeException : Exception
{
    private TpServeException(StatusCode status, string message, Exception? inner)
        : base(message, inner) => Status = status;

    /// <summary>The gRPC status.</summary>
    public StatusCode Status { get; }

    /// <summary>The server's reason, UPPER_SNAKE_CASE, such as QUEUE_FULL; null where the failure is the connection's, not the server's.</summary>
    public string? Reason { get; private init; }

    /// <summary>The request's field at fault, if one is.</summary>
    public string? Field { get; private init; }

    /// <summary>What that field, or what else is bounded, holds.</summary>
    public string? Value { get; private init; }

    /// <summary>What it may hold.</summary>
    public string? Limit { get; private init; }

    /// <summary>When trying again may help; null = the server did not say.</summary>
    public TimeSpan? RetryAfter { get; private init; }

    /// <summary>Whether the connection broke, or never was, rather than the server said no.</summary>
    internal bool IsCut => Reason is null && Status is (StatusCode.Unavailable or StatusCode.Internal or StatusCode.Unknown or StatusCode.Cancelled);

    /// <summary>Whether the request was not taken and may be at another time.</summary>
    internal bool IsForLater => Status == StatusCode.Unavailable || (Status == StatusCode.ResourceExhausted && RetryAfter is not null);

    /// <summary>Reads a failed call's status and its google.rpc details.</summary>
    public static TpServeException From(RpcException failure)
    {
        ArgumentNullException.ThrowIfNull(failure);
        Google.Rpc.Status? details = Details(failure);
        ErrorInfo? info = details?.GetDetail<ErrorInfo>();
        return new TpServeException(failure.StatusCode, failure.Status.Detail is { Length: > 0 } said ? said : $"The call ended with {failure.StatusCode}.", failure)
        {
            Reason = info?.Reason,
            Field = info?.Metadata.GetValueOrDefault("field"),
            Value = info?.Metadata.GetValueOrDefault("value"),
            Limit = info?.Metadata.GetValueOrDefault("limit"),
            RetryAfter = details?.GetDetail<RetryInfo>()?.RetryDelay?.ToTimeSpan(),
        };
    }

    /// <summary>A stream that the server told otherwise than it may.</summary>
    internal static TpServeException OfStream(string message) => new(StatusCode.DataLoss, message, null);

    // A proxy between may write anything into the trailer.
    private static Google.Rpc.Status? Details(RpcException failure)
    {
        try
        {
            return failure.GetRpcStatus();
        }
        catch (Exception unreadable) when (unreadable is Google.Protobuf.InvalidProtocolBufferException or ArgumentException or FormatException)
        {
            return null;
        }
    }
}
