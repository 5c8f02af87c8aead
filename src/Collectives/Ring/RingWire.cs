using System.Net.Sockets;

namespace TpServe.Collectives.Ring;

/// <summary>One connection that carries blocks one way: never blocks, tells what it took or gave.</summary>
/// <remarks>
/// The only place where bytes leave or enter, encrypted or as they are.
/// No call is asynchronous, so the runtime's event thread never hears of the connection and no message wakes it.
/// Threads  one sends or receives at a time; <see cref="Dispose"/> from any, once nobody does.
/// </remarks>
internal sealed class RingWire : IDisposable
{
    /// <summary>What the connection holds of a sender that is ahead of its receiver; the system may grant less. Measured: 5.4 GB/s of result, 3.7 with 208 KiB. TCP sizes its own.</summary>
    private const int UnixBufferBytes = 512 << 10;

    private static readonly TimeSpan s_keepAlive = TimeSpan.FromSeconds(10);
    private readonly Socket _socket;
    private readonly RingTls? _tls;

    /// <summary>Takes a connected socket over.</summary>
    /// <param name="socket">The socket.</param>
    /// <param name="tls">What encrypts, on the same socket; null = nothing does.</param>
    public RingWire(Socket socket, RingTls? tls = null)
    {
        _socket = socket;
        _tls = tls;
        socket.Blocking = false;
        if (socket.AddressFamily == AddressFamily.Unix)
        {
            socket.SendBufferSize = UnixBufferBytes;
            return;
        }
        // Connections rest for as long as nobody asks for anything: a host that vanished, or a firewall that forgets, is found all the same.
        socket.NoDelay = true;
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, (int)s_keepAlive.TotalSeconds);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, (int)s_keepAlive.TotalSeconds / 2);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 2);
    }

    /// <summary>Sends what the connection has room for; after 0 the same bytes must be offered again.</summary>
    /// <returns>Bytes sent, 0 where it is full; −1 where it is broken, and <paramref name="fault"/> tells how.</returns>
    public int TrySend(ReadOnlySpan<byte> bytes, out string fault) => _tls is null ? Send(_socket, bytes, out fault) : _tls.TrySend(bytes, out fault);

    /// <summary>Takes what has arrived.</summary>
    /// <returns>Bytes received, 0 where there are none yet; −1 where it is broken or at its end, and <paramref name="fault"/> tells how.</returns>
    public int TryReceive(Span<byte> room, out string fault) => _tls is null ? Receive(_socket, room, out fault) : _tls.TryReceive(room, out fault);

    /// <summary>Returns when something has arrived, the connection has ended, or the time is over.</summary>
    public void WaitReadable(TimeSpan limit) => _socket.Poll(limit, SelectMode.SelectRead);

    /// <summary>Returns when there is room, the connection has ended, or the time is over.</summary>
    public void WaitWritable(TimeSpan limit) => _socket.Poll(limit, SelectMode.SelectWrite);

    /// <inheritdoc/>
    public void Dispose()
    {
        _tls?.Dispose();
        _socket.Dispose();
    }

    /// <summary>As <see cref="TrySend"/>, without encryption.</summary>
    internal static int Send(Socket socket, ReadOnlySpan<byte> bytes, out string fault)
    {
        int sent = socket.Send(bytes, SocketFlags.None, out SocketError error);
        return Result(sent, error, out fault);
    }

    /// <summary>As <see cref="TryReceive"/>, without encryption.</summary>
    internal static int Receive(Socket socket, Span<byte> room, out string fault)
    {
        int received = socket.Receive(room, SocketFlags.None, out SocketError error);
        if (received > 0 || error != SocketError.Success)
            return Result(received, error, out fault);
        fault = "it was closed";
        return -1;
    }

    private static int Result(int bytes, SocketError error, out string fault)
    {
        fault = "";
        if (error == SocketError.Success)
            return bytes;
        if (error is SocketError.WouldBlock or SocketError.IOPending or SocketError.NoBufferSpaceAvailable)
            return 0;
        fault = new SocketException((int)error).Message;
        return -1;
    }
}
