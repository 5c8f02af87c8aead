using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;
using Grpc.Core.Interceptors;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.Grpc;

/// <summary>Turns exceptions of the services into statuses with google.rpc.Status details; the only place that does.</summary>
public sealed class ErrorInterceptor(ServingSettings settings, InferenceEngine engine, ILogger<ErrorInterceptor> log) : Interceptor
{
    private const string Domain = "tpserve";

    /// <inheritdoc/>
    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
        TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        MalformedMessages.MarkRead(context);
        MessageCompression.Choose(context);
        try
        {
            return await continuation(request, context);
        }
        catch (Exception failure) when (failure is not RpcException)
        {
            throw Translate(failure, context);
        }
    }

    /// <inheritdoc/>
    public override async Task ServerStreamingServerHandler<TRequest, TResponse>(
        TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
        ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        MalformedMessages.MarkRead(context);
        MessageCompression.Choose(context);
        try
        {
            await continuation(request, responseStream, context);
        }
        catch (Exception failure) when (failure is not RpcException)
        {
            throw Translate(failure, context);
        }
    }

    /// <summary>The error as a gRPC status: ErrorInfo always, RetryInfo and BadRequest where they say something.</summary>
    public static RpcException ToRpcException(ApiError error)
    {
        ErrorInfo info = new() { Reason = error.Reason, Domain = Domain };
        foreach ((string name, string? text) in new[] { ("field", error.Field), ("value", error.Value), ("limit", error.Limit) })
            if (text is not null)
                info.Metadata.Add(name, text);
        Google.Rpc.Status status = new() { Code = (int)error.Status, Message = error.Message, Details = { Any.Pack(info) } };
        if (error.RetryAfter is { } delay)
            status.Details.Add(Any.Pack(new RetryInfo { RetryDelay = Duration.FromTimeSpan(delay) }));
        if (error is { Status: StatusCode.InvalidArgument, Field: { } field })
            status.Details.Add(Any.Pack(new BadRequest
            {
                FieldViolations = { new BadRequest.Types.FieldViolation { Field = field, Description = error.Message } },
            }));
        return status.ToRpcException();
    }

    private RpcException Translate(Exception failure, ServerCallContext context)
    {
        ApiError error = ApiError.From(failure, engine.TimeToRoom() ?? settings.RetryAfter);
        if (error.IsInternal)
            ApiLog.Failed(log, context.Method, failure);
        else if (error.Status != StatusCode.Cancelled)
            ApiLog.Refused(log, context.Method, error);
        return ToRpcException(error);
    }
}
