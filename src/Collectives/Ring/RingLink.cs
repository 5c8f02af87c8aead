using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Protos.Ring;
using RingProtocol = TpServe.Protos.Ring.Ring;

namespace TpServe.Collectives.Ring;

/// <summary>The sending side towards one peer: one stream, one message at a time.</summary>
/// <remarks>Threads  the rank's thread sends; <see cref="RevokeAsync"/> may come from any.</remarks>
internal sealed class RingLink : IDisposable
{
    private const string UnixScheme = "unix:";
    private static readonly TimeSpan s_retryInterval = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan s_revokeTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_keepAlive = TimeSpan.FromSeconds(10);

    private readonly GrpcChannel _channel;
    private readonly RingProtocol.RingClient _client;
    private readonly Metadata _headers;
    private AsyncDuplexStreamingCall<RingMessage, RingAccepted>? _stream;
    private Task _sending = Task.CompletedTask;
    private long _sendingRound;

    /// <summary>A link that is not connected yet.</summary>
    /// <param name="peer">Rank at the other end.</param>
    /// <param name="address">http://host:port, https://host:port or unix:/path.</param>
    /// <param name="secret">The group's secret.</param>
    public RingLink(int peer, string address, string secret)
    {
        Peer = peer;
        _headers = new Metadata { { RingService.SecretKey, secret } };
        SocketsHttpHandler handler = new()
        {
            UseProxy = false,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            KeepAlivePingDelay = s_keepAlive,
            KeepAlivePingTimeout = s_keepAlive,
        };
        bool isUnix = address.StartsWith(UnixScheme, StringComparison.Ordinal);
        if (isUnix)
        {
            UnixDomainSocketEndPoint endPoint = new(address[UnixScheme.Length..]);
            handler.ConnectCallback = async (_, cancellation) =>
            {
                Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(endPoint, cancellation);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            };
        }
        _channel = GrpcChannel.ForAddress(isUnix ? "http://localhost" : address, new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            ThrowOperationCanceledOnCancellation = true,
        });
        _client = new RingProtocol.RingClient(_channel);
    }

    /// <summary>Rank at the other end.</summary>
    public int Peer { get; }

    /// <summary>Opens the stream, and again until the peer has opened its epoch.</summary>
    /// <exception cref="TransportFailedException">The peer refuses.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled first.</exception>
    public async Task ConnectAsync(RingHello hello, CancellationToken cancellation)
    {
        while (true)
        {
            // The call lives on after this method: only its opening is under the token.
            AsyncDuplexStreamingCall<RingMessage, RingAccepted> call = _client.Exchange(_headers, cancellationToken: CancellationToken.None);
            try
            {
                await call.RequestStream.WriteAsync(new RingMessage { Hello = hello }, cancellation);
                if (!await call.ResponseStream.MoveNext(cancellation))
                    throw new TransportFailedException($"Rank {Peer} ended the stream of rank {hello.FromRank} without a word.");
                _stream = call;
                return;
            }
            catch (Exception refused) when (IsNotYet(refused))
            {
                call.Dispose();
                cancellation.ThrowIfCancellationRequested(); // an answer that came with the end of the time is no refusal
                await Task.Delay(s_retryInterval, cancellation);
            }
            catch (RpcException refused)
            {
                call.Dispose();
                throw new TransportFailedException($"Rank {Peer} refuses the stream of rank {hello.FromRank}: {refused.Status.Detail} ({refused.StatusCode}).");
            }
            catch
            {
                call.Dispose();
                throw;
            }
        }
    }

    /// <summary>Nobody listens yet, the epoch is not open yet, or the stream was reset after an answer to that effect.</summary>
    private static bool IsNotYet(Exception refused) =>
        refused is OperationCanceledException or RpcException { StatusCode: StatusCode.Unavailable or StatusCode.Cancelled };

    /// <summary>Starts to send a block; first waits until the one before has left.</summary>
    public void Send(OperationContext operation, RingMessage block, CancellationToken revoked)
    {
        WaitUntilSent(operation, long.MaxValue, revoked);
        _sendingRound = block.Block.Round;
        _sending = _stream!.RequestStream.WriteAsync(block, CancellationToken.None);
    }

    /// <summary>Waits until the blocks of a round and those before it have left, so that their memory may be written again.</summary>
    public void WaitUntilSent(OperationContext operation, long round, CancellationToken revoked)
    {
        if (_sendingRound > round || _sending.IsCompletedSuccessfully)
            return;
        try
        {
            TimeSpan remaining = operation.Remaining;
            if (remaining <= TimeSpan.Zero || !_sending.Wait(remaining, revoked))
                throw operation.Timeout(Peer);
        }
        catch (AggregateException fault)
        {
            throw operation.PeerGone(Peer, $"the stream to it broke: {fault.InnerException!.Message}");
        }
    }

    /// <summary>Tells the peer that the epoch is over. A peer that cannot be reached finds out by itself.</summary>
    public async Task RevokeAsync(RingRevocation revocation)
    {
        try
        {
            await _client.RevokeAsync(revocation, _headers, DateTime.UtcNow + s_revokeTimeout);
        }
        catch (Exception fault) when (fault is RpcException or OperationCanceledException)
        {
            // Dead, or gone already: its own deadline, or its gateway, ends its waits.
        }
    }

    /// <summary>Ends the stream in good order, after what is still being sent.</summary>
    public async Task LeaveAsync()
    {
        if (_stream is null)
            return;
        try
        {
            await _sending;
            await _stream.RequestStream.CompleteAsync();
            await _stream.ResponseStream.MoveNext(CancellationToken.None); // the end, once the peer has read everything
        }
        catch (Exception fault) when (fault is RpcException or OperationCanceledException or InvalidOperationException or IOException)
        {
            // The peer went first. Nothing is owed to it any more.
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stream?.Dispose();
        _channel.Dispose();
    }
}
