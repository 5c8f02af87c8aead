using System.Diagnostics;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Links;
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
    private readonly GroupCertificate? _certificate;
    private readonly PeerTrust _trust;
    private readonly GrpcChannel _channel;
    private readonly RingProtocol.RingClient _client;
    private readonly Metadata _headers;
    private RingWire? _wire;

    /// <summary>A link that is not connected yet.</summary>
    /// <param name="peer">Rank at the other end.</param>
    /// <param name="address">https://host:port, http://host:port or unix:/path.</param>
    /// <param name="secret">The group's secret.</param>
    /// <param name="links">What guards it.</param>
    /// <exception cref="TransportFailedException">The address is of another kind, or not guarded as it must be.</exception>
    public RingLink(int peer, string address, string secret, LinkSecurity links)
    {
        Peer = peer;
        _socketPath = address.StartsWith(UnixScheme, StringComparison.Ordinal) ? address[UnixScheme.Length..] : null;
        _address = _socketPath is null && Uri.TryCreate(address, UriKind.Absolute, out Uri? uri) ? uri : new Uri("http://localhost");
        if (links.Fault(address) is { } unfit)
            throw new TransportFailedException($"The address '{address}' of rank {peer} {unfit}.");
        _certificate = _address.Scheme == "https" ? links.Certificate : null;
        _trust = new PeerTrust(links);
        _headers = new Metadata { { RingService.SecretKey, secret } };
        SocketsHttpHandler handler = new()
        {
            UseProxy = false,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            KeepAlivePingDelay = s_keepAlive,
            KeepAlivePingTimeout = s_keepAlive,
        };
        _trust.Secure(handler);
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
                byte[] given = ticket.Ticket.ToByteArray();
                _wire = await Task.Factory.StartNew(() => Open(given, cancellation), cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default);
                return;
            }
            catch (Exception refused) when (_trust.Fault((refused as RpcException)?.Status.DebugException ?? refused) is { } untrusted)
            {
                throw new TransportFailedException($"Rank {Peer} at {_address} {untrusted}.");
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
    private bool IsNotYet(Exception refused) =>
        _trust.WasClosedEarly || refused is OperationCanceledException or SocketException or IOException or ObjectDisposedException or RpcException { StatusCode: StatusCode.Unavailable or StatusCode.Cancelled };

    private Socket NewSocket() => _socketPath is null
        ? new Socket(SocketType.Stream, ProtocolType.Tcp) // both versions of IP
        : new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    /// <summary>Connects and waits for the welcome: on a thread of its own, for a socket that has never been asynchronous stays cheap.</summary>
    private RingWire Open(byte[] ticket, CancellationToken cancellation)
    {
        Socket socket = NewSocket();
        RingWire? wire = null;
        try
        {
            using CancellationTokenRegistration ending = cancellation.Register(socket.Dispose); // which ends its calls
            if (_socketPath is null)
                socket.Connect(_address.IdnHost, _address.Port);
            else
                socket.Connect(new UnixDomainSocketEndPoint(_socketPath));
            socket.SendTimeout = (int)s_greetingTimeout.TotalMilliseconds;
            long start = Stopwatch.GetTimestamp();
            if (_certificate is null)
            {
                socket.Send([.. RingDoor.Mark, .. ticket]);
                wire = new RingWire(socket);
            }
            else
            {
                socket.Send(RingDoor.Mark);
                using CancellationTokenSource deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
                deadline.CancelAfter(s_greetingTimeout);
                wire = new RingWire(socket, RingTls.ConnectAsync(socket, _certificate, deadline.Token).GetAwaiter().GetResult()); // bounded by the token
                if (wire.TrySend(ticket, out string broken) != ticket.Length)
                    throw new IOException($"the ticket could not be sent: {broken}");
            }
            byte[] answer = new byte[1];
            for (int count = 0; count == 0;)
            {
                count = wire.TryReceive(answer, out string fault);
                if (count < 0 || Stopwatch.GetElapsedTime(start) > s_greetingTimeout)
                    throw new IOException(count < 0 ? fault : "no welcome came");
                if (count == 0)
                    wire.WaitReadable(s_retryInterval);
            }
            return answer[0] == RingDoor.Welcome ? wire : throw new TransportFailedException($"Rank {Peer} takes no blocks: it answers with {answer[0]:x2}.");
        }
        catch
        {
            wire?.Dispose();
            socket.Dispose();
            throw;
        }
    }
}
