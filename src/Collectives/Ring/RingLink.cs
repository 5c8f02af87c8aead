using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Protos.Ring;
using RingProtocol = TpServe.Protos.Ring.Ring;

namespace TpServe.Collectives.Ring;

/// <summary>The way to one peer: asks it for a ticket and opens the connection for the blocks; tells it when the epoch is over.</summary>
/// <remarks>Threads  one connects; <see cref="RevokeAsync"/> may come from any.</remarks>
internal sealed class RingLink : IDisposable
{
    private const string UnixScheme = "unix:";
    private static readonly TimeSpan s_retryInterval = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan s_revokeTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_greetingTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_keepAlive = TimeSpan.FromSeconds(10);

    private readonly string? _socketPath;
    private readonly Uri _address;
    private readonly GrpcChannel _channel;
    private readonly RingProtocol.RingClient _client;
    private readonly Metadata _headers;
    private RingWire? _wire;

    /// <summary>A link that is not connected yet.</summary>
    /// <param name="peer">Rank at the other end.</param>
    /// <param name="address">http://host:port or unix:/path.</param>
    /// <param name="secret">The group's secret.</param>
    /// <exception cref="TransportFailedException">The address is of another kind.</exception>
    public RingLink(int peer, string address, string secret)
    {
        Peer = peer;
        _socketPath = address.StartsWith(UnixScheme, StringComparison.Ordinal) ? address[UnixScheme.Length..] : null;
        _address = _socketPath is null && Uri.TryCreate(address, UriKind.Absolute, out Uri? uri) ? uri : new Uri("http://localhost");
        if (_socketPath is null && !address.StartsWith("http://", StringComparison.OrdinalIgnoreCase))
            throw new TransportFailedException($"The address '{address}' of rank {peer} is neither http://HOST:PORT nor unix:/PATH; blocks travel unencrypted, so https is none either.");
        _headers = new Metadata { { RingService.SecretKey, secret } };
        SocketsHttpHandler handler = new()
        {
            UseProxy = false,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            KeepAlivePingDelay = s_keepAlive,
            KeepAlivePingTimeout = s_keepAlive,
        };
        if (_socketPath is not null)
        {
            UnixDomainSocketEndPoint endPoint = new(_socketPath);
            handler.ConnectCallback = async (_, cancellation) =>
            {
                Socket socket = NewSocket();
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
        _channel = GrpcChannel.ForAddress(_address, new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            ThrowOperationCanceledOnCancellation = true,
        });
        _client = new RingProtocol.RingClient(_channel);
    }

    /// <summary>Rank at the other end.</summary>
    public int Peer { get; }

    /// <summary>Opens the connection, and again until the peer has opened its epoch.</summary>
    /// <exception cref="TransportFailedException">The peer refuses.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled first.</exception>
    public async Task ConnectAsync(RingHello hello, CancellationToken cancellation)
    {
        while (true)
        {
            try
            {
                RingTicket ticket = await _client.JoinAsync(hello, _headers, cancellationToken: cancellation);
                byte[] greeting = [.. RingDoor.Mark, .. ticket.Ticket.Span];
                _wire = await Task.Factory.StartNew(() => Open(greeting, cancellation), cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default);
                return;
            }
            catch (Exception refused) when (IsNotYet(refused))
            {
                cancellation.ThrowIfCancellationRequested(); // an answer that came with the end of the time is no refusal
                await Task.Delay(s_retryInterval, cancellation);
            }
            catch (RpcException refused)
            {
                throw new TransportFailedException($"Rank {Peer} refuses the stream of rank {hello.FromRank}: {refused.Status.Detail} ({refused.StatusCode}).");
            }
        }
    }

    /// <summary>The open connection, which becomes the caller's.</summary>
    public RingWire TakeWire()
    {
        RingWire wire = _wire!;
        _wire = null;
        return wire;
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

    /// <inheritdoc/>
    public void Dispose()
    {
        _wire?.Dispose();
        _channel.Dispose();
    }

    /// <summary>Nobody listens yet, the epoch is not open yet, or the connection was reset on the way.</summary>
    private static bool IsNotYet(Exception refused) =>
        refused is OperationCanceledException or SocketException or ObjectDisposedException or RpcException { StatusCode: StatusCode.Unavailable or StatusCode.Cancelled };

    private Socket NewSocket() => _socketPath is null
        ? new Socket(SocketType.Stream, ProtocolType.Tcp) // both versions of IP
        : new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    /// <summary>Connects and waits for the welcome: on a thread of its own, for a socket that has never been asynchronous stays cheap.</summary>
    private RingWire Open(byte[] greeting, CancellationToken cancellation)
    {
        Socket socket = NewSocket();
        try
        {
            using CancellationTokenRegistration ending = cancellation.Register(socket.Dispose); // which ends its calls
            if (_socketPath is null)
                socket.Connect(_address.IdnHost, _address.Port);
            else
                socket.Connect(new UnixDomainSocketEndPoint(_socketPath));
            socket.ReceiveTimeout = socket.SendTimeout = (int)s_greetingTimeout.TotalMilliseconds;
            socket.Send(greeting);
            byte[] answer = new byte[1];
            if (socket.Receive(answer) == 0)
                throw new SocketException((int)SocketError.ConnectionReset);
            if (answer[0] != RingDoor.Welcome)
                throw new TransportFailedException($"Rank {Peer} takes no blocks: it answers with {answer[0]:x2}.");
        }
        catch
        {
            socket.Dispose();
            throw;
        }
        return new RingWire(socket);
    }
}
