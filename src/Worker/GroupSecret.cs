using System.Security.Cryptography;
using System.Text;
using Grpc.Core;
using Grpc.Core.Interceptors;

namespace TpServe.Worker;

/// <summary>What gateway and workers of one group share; whoever calls without it is refused.</summary>
public sealed class GroupSecret(string value)
{
    /// <summary>The metadata entry that carries it.</summary>
    public const string Header = "tpserve-secret";

    /// <summary>The secret, to be sent to peers.</summary>
    public string Value { get; } = value;

    /// <summary>Compares in constant time.</summary>
    /// <exception cref="RpcException">PERMISSION_DENIED.</exception>
    public void Check(ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        byte[] given = Encoding.UTF8.GetBytes(context.RequestHeaders.GetValue(Header) ?? "");
        if (!CryptographicOperations.FixedTimeEquals(given, Encoding.UTF8.GetBytes(Value)))
            throw new RpcException(new Status(StatusCode.PermissionDenied, "the group's secret is missing or wrong"));
    }
}

/// <summary>Checks the secret before every call.</summary>
internal sealed class SecretInterceptor(GroupSecret secret) : Interceptor
{
    public override Task<TResponse> UnaryServerHandler<TRequest, TResponse>(TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        secret.Check(context);
        return continuation(request, context);
    }

    public override Task<TResponse> ClientStreamingServerHandler<TRequest, TResponse>(IAsyncStreamReader<TRequest> requests, ServerCallContext context, ClientStreamingServerMethod<TRequest, TResponse> continuation)
    {
        secret.Check(context);
        return continuation(requests, context);
    }

    public override Task ServerStreamingServerHandler<TRequest, TResponse>(TRequest request, IServerStreamWriter<TResponse> responses, ServerCallContext context, ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        secret.Check(context);
        return continuation(request, responses, context);
    }

    public override Task DuplexStreamingServerHandler<TRequest, TResponse>(IAsyncStreamReader<TRequest> requests, IServerStreamWriter<TResponse> responses, ServerCallContext context, DuplexStreamingServerMethod<TRequest, TResponse> continuation)
    {
        secret.Check(context);
        return continuation(requests, responses, context);
    }
}
