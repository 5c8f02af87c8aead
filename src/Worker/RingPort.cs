using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Logging;
using TpServe.Collectives.Ring;

namespace TpServe.Worker;

/// <summary>Listens for Kestrel, and keeps from it the connections that carry blocks: one port serves gRPC and the ring.</summary>
/// <remarks>Registered after Kestrel's own factory, it is asked first.</remarks>
internal sealed class RingPort(RingDoor door, ILoggerFactory loggers) : IConnectionListenerFactory
{
    private const int Backlog = 512;

    /// <inheritdoc/>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        Socket socket;
        try
        {
            socket = SocketTransportOptions.CreateDefaultBoundListenSocket(endpoint);
        }
        catch (SocketException fault) when (fault.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            throw new AddressInUseException(fault.Message, fault); // which Kestrel words
        }
        socket.Listen(Backlog);
        return ValueTask.FromResult<IConnectionListener>(new Listener(socket, door, loggers));
    }

    private sealed class Listener : IConnectionListener
    {
        private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(10);

        private readonly Socket _socket;
        private readonly RingDoor _door;
        private readonly SocketConnectionContextFactory _contexts;
        private readonly Channel<ConnectionContext> _accepted = Channel.CreateUnbounded<ConnectionContext>();
        private readonly CancellationTokenSource _unbound = new();

        public Listener(Socket socket, RingDoor door, ILoggerFactory loggers)
        {
            _socket = socket;
            _door = door;
            // What comes is read, and what goes is written, on the thread that hears of it: nothing here blocks, and every thread woken takes a moment from the rank's.
            _contexts = new SocketConnectionContextFactory(new SocketConnectionFactoryOptions { UnsafePreferInlineScheduling = true }, loggers.CreateLogger<RingPort>());
            EndPoint = socket.LocalEndPoint!;
            _ = ListenAsync();
        }

        /// <inheritdoc/>
        public EndPoint EndPoint { get; }

        /// <inheritdoc/>
        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default) =>
            await _accepted.Reader.WaitToReadAsync(cancellationToken) && _accepted.Reader.TryRead(out ConnectionContext? connection) ? connection : null;

        /// <inheritdoc/>
        public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
        {
            _unbound.Cancel();
            _socket.Dispose();
            _accepted.Writer.TryComplete();
            return ValueTask.CompletedTask;
        }

        /// <inheritdoc/>
        public async ValueTask DisposeAsync()
        {
            await UnbindAsync();
            while (_accepted.Reader.TryRead(out ConnectionContext? late))
                await late.DisposeAsync();
            _contexts.Dispose();
            _unbound.Dispose();
        }

        private async Task ListenAsync()
        {
            while (!_unbound.IsCancellationRequested)
            {
                try
                {
                    _ = RouteAsync(await _socket.AcceptAsync(_unbound.Token));
                }
                catch (Exception fault) when (fault is SocketException or ObjectDisposedException or OperationCanceledException)
                {
                    // Unbound, reset before it was accepted, or no descriptor is free now.
                    if (!_unbound.IsCancellationRequested)
                        await Task.Delay(s_pause);
                }
            }
        }

        private async Task RouteAsync(Socket socket)
        {
            try
            {
                if (socket.AddressFamily != AddressFamily.Unix)
                    socket.NoDelay = true;
                if (await _door.TryTakeAsync(socket))
                    return;
                ConnectionContext connection = _contexts.Create(socket);
                if (!_accepted.Writer.TryWrite(connection))
                    await connection.DisposeAsync();
            }
            catch (Exception fault) when (fault is SocketException or ObjectDisposedException)
            {
                socket.Dispose(); // the peer went before it had said who it is
            }
        }
    }
}
