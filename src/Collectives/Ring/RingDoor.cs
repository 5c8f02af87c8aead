using System.Diagnostics;
using System.Net.Sockets;

namespace TpServe.Collectives.Ring;

/// <summary>Tells the connections that carry blocks from those that carry HTTP/2, on one and the same port, and lets them in by their tickets.</summary>
/// <remarks>
/// A connection for blocks begins with a mark that neither HTTP/2 ("PRI * …") nor TLS (22) begins with, and a ticket; it is answered with one byte. Nothing of
/// any other connection is read.
/// It is looked at from timers and not by asynchronous reads: a socket that has once been read so wakes the runtime's event thread at every message for ever.
/// Threads  any.
/// </remarks>
public sealed class RingDoor
{
    /// <summary>The answer to a good ticket.</summary>
    internal const byte Welcome = 0xA5;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan s_longestPause = TimeSpan.FromMilliseconds(50);

    private readonly RingMailboxes _mailboxes;
    private readonly TimeSpan _patience;

    /// <summary>A door to these mailboxes, whose tickets are good.</summary>
    public RingDoor(RingMailboxes mailboxes)
        : this(mailboxes, s_patience)
    {
    }

    /// <summary>As above, with another patience: tests wait less.</summary>
    internal RingDoor(RingMailboxes mailboxes, TimeSpan patience)
    {
        _mailboxes = mailboxes;
        _patience = patience;
    }

    /// <summary>How a connection for blocks begins.</summary>
    internal static ReadOnlySpan<byte> Mark => [0xF4, (byte)'T', (byte)'P', (byte)'R', (byte)'I', (byte)'N', (byte)'G', (byte)'1'];

    /// <summary>Takes an accepted socket over where it carries blocks, or where it says nothing for 10 s: it is closed then, or when its ticket is no good.</summary>
    /// <returns>False where it is somebody else's: it is as it was accepted.</returns>
    /// <exception cref="SocketException">The connection broke; the socket is still the caller's.</exception>
    public async Task<bool> TryTakeAsync(Socket socket)
    {
        ArgumentNullException.ThrowIfNull(socket);
        long start = Stopwatch.GetTimestamp();
        byte[] greeting = new byte[Mark.Length + RingMailbox.TicketBytes];
        if (!await WaitAsync(socket, start))
        {
            socket.Dispose();
            return true;
        }
        if (socket.Receive(greeting, 0, 1, SocketFlags.Peek) == 0 || greeting[0] != Mark[0])
            return false;

        bool welcome = false;
        try
        {
            welcome = await ReadAsync(socket, greeting, start) && greeting.AsSpan().StartsWith(Mark)
                && _mailboxes.TryAttach(greeting.AsSpan(Mark.Length), new RingWire(socket));
        }
        finally
        {
            if (!welcome)
                socket.Dispose();
        }
        return true;
    }

    private async Task<bool> ReadAsync(Socket socket, byte[] greeting, long start)
    {
        for (int read = 0; read < greeting.Length;)
        {
            if (!await WaitAsync(socket, start))
                return false;
            int count = socket.Receive(greeting, read, greeting.Length - read, SocketFlags.None);
            if (count == 0)
                return false;
            read += count;
        }
        return true;
    }

    /// <summary>True once a read would not wait.</summary>
    private async Task<bool> WaitAsync(Socket socket, long start)
    {
        for (TimeSpan pause = s_firstPause; !socket.Poll(0, SelectMode.SelectRead); pause = pause < s_longestPause ? pause * 2 : pause)
        {
            if (Stopwatch.GetElapsedTime(start) > _patience)
                return false;
            await Task.Delay(pause);
        }
        return true;
    }
}
