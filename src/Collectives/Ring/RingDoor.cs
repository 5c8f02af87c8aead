using System.Diagnostics;
using System.Net.Sockets;
using System.Security.Authentication;
using TpServe.Links;

namespace TpServe.Collectives.Ring;

/// <summary>Tells the connections that carry blocks from those that carry HTTP/2, on one and the same port, and lets them in by their tickets.</summary>
/// <remarks>
/// A connection for blocks begins with a mark that neither HTTP/2 ("PRI * …") nor TLS (22) begins with, and a ticket; it is answered with one byte. Where links
/// are encrypted the ticket and all that follows are, and HTTP/2 without TLS is told so. Nothing of any other connection is read.
/// It is looked at from timers and not by asynchronous reads: a socket that has once been read so wakes the runtime's event thread at every message for ever.
/// Threads  any.
/// </remarks>
public sealed class RingDoor
{
    /// <summary>The answer to a good ticket.</summary>
    internal const byte Welcome = 0xA5;

    private const byte TlsHandshake = 22;

    private static readonly TimeSpan s_lastWords = TimeSpan.FromSeconds(1);
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

    /// <summary>No HTTP/2 without TLS: SETTINGS, as every connection begins, and GOAWAY with INADEQUATE_SECURITY, which clients name (RFC 9113, §6.5, §6.8, §7).</summary>
    private static ReadOnlySpan<byte> AsksForTls => [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0xC];

    /// <summary>Takes an accepted socket over where it carries blocks, or where it says nothing for 10 s: it is closed then, or when its ticket is no good.</summary>
    /// <returns>False where it is somebody else's: it is as it was accepted.</returns>
    /// <exception cref="SocketException">The connection broke; the socket is still the caller's.</exception>
    public async Task<bool> TryTakeAsync(Socket socket)
    {
        ArgumentNullException.ThrowIfNull(socket);
        long start = Stopwatch.GetTimestamp();
        if (!await WaitAsync(socket, start, _patience))
        {
            socket.Dispose();
            return true;
        }
        GroupCertificate? certificate = socket.AddressFamily == AddressFamily.Unix ? null : _mailboxes.Links.Certificate;
        byte[] first = new byte[1];
        if (socket.Receive(first, 0, 1, SocketFlags.Peek) == 0)
            return false;
        if (first[0] != Mark[0])
        {
            if (certificate is null || first[0] == TlsHandshake)
                return false;
            await AskForTlsAsync(socket);
            return true;
        }

        RingWire? wire = null;
        bool welcome = false;
        try
        {
            byte[] mark = new byte[Mark.Length], ticket = new byte[RingMailbox.TicketBytes];
            if (await ReadAsync(socket, mark, start) && mark.AsSpan().SequenceEqual(Mark))
            {
                wire = new RingWire(socket, certificate is null ? null : await HandshakeAsync(socket, certificate, start));
                welcome = await ReadAsync(wire, ticket, start) && _mailboxes.TryAttach(ticket, wire);
            }
        }
        catch (Exception fault) when (fault is IOException or AuthenticationException or OperationCanceledException)
        {
            // Not of the group, or gone, or too slow: whoever connects learns why when it asks for its ticket.
        }
        finally
        {
            if (!welcome)
            {
                wire?.Dispose();
                socket.Dispose();
            }
        }
        return true;
    }

    private async Task<RingTls> HandshakeAsync(Socket socket, GroupCertificate certificate, long start)
    {
        TimeSpan remaining = _patience - Stopwatch.GetElapsedTime(start);
        using CancellationTokenSource deadline = new(remaining > TimeSpan.Zero ? remaining : TimeSpan.Zero);
        return await RingTls.AcceptAsync(socket, certificate, deadline.Token);
    }

    private async Task<bool> ReadAsync(Socket socket, byte[] bytes, long start)
    {
        for (int read = 0; read < bytes.Length;)
        {
            if (!await WaitAsync(socket, start, _patience))
                return false;
            int count = socket.Receive(bytes, read, bytes.Length - read, SocketFlags.None);
            if (count == 0)
                return false;
            read += count;
        }
        return true;
    }

    /// <summary>As above, once the connection is a wire: what comes may be encrypted, so only asking for it tells whether it is there.</summary>
    private async Task<bool> ReadAsync(RingWire wire, byte[] bytes, long start)
    {
        TimeSpan pause = s_firstPause;
        for (int read = 0; read < bytes.Length;)
        {
            int count = wire.TryReceive(bytes.AsSpan(read), out _);
            if (count < 0 || Stopwatch.GetElapsedTime(start) > _patience)
                return false;
            read += count;
            if (count > 0)
                continue;
            await Task.Delay(pause);
            pause = pause < s_longestPause ? pause * 2 : pause;
        }
        return true;
    }

    /// <summary>Says it, and reads on for a moment: a connection that is closed with bytes unread is reset, and the words with it.</summary>
    private static async Task AskForTlsAsync(Socket socket)
    {
        using (socket)
        {
            long start = Stopwatch.GetTimestamp();
            byte[] unheard = new byte[4096];
            socket.Send(AsksForTls);
            socket.Shutdown(SocketShutdown.Send);
            while (await WaitAsync(socket, start, s_lastWords) && socket.Receive(unheard) > 0)
            {
                // What a client says before it has heard.
            }
        }
    }

    /// <summary>True once a read would not wait.</summary>
    private static async Task<bool> WaitAsync(Socket socket, long start, TimeSpan patience)
    {
        for (TimeSpan pause = s_firstPause; !socket.Poll(0, SelectMode.SelectRead); pause = pause < s_longestPause ? pause * 2 : pause)
        {
            if (Stopwatch.GetElapsedTime(start) > patience)
                return false;
            await Task.Delay(pause);
        }
        return true;
    }
}
