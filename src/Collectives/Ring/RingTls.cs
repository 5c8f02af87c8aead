using System.Buffers.Binary;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using TpServe.Links;

namespace TpServe.Collectives.Ring;

/// <summary>TLS on a connection that never blocks: encrypts what is sent and decrypts what came, and like the plain connection tells what it took or gave.</summary>
/// <remarks>
/// <see cref="SslStream"/> has no calls that give up where the socket would wait. So it never sees the socket: it reads from memory, and is only asked when a whole
/// record lies there; it writes to memory, from which records leave as the socket takes them. The handshake waits by timers, as <see cref="RingDoor"/> does.
/// Bytes count as sent when the last of their records has left: until then the caller offers the same ones again. All that is offered is encrypted at once, on the
/// caller's thread, and what the socket takes meanwhile leaves meanwhile: the thread that sees to the rest only sends.
/// Threads  one sends or receives at a time.
/// </remarks>
internal sealed class RingTls : IDisposable
{
    /// <summary>What is encrypted before some of it is sent: several records, so that the system is called less often.</summary>
    private const int PortionBytes = 4 * RecordMemory.MostPlainBytes;

    /// <summary>What is taken of an offer: a block with its head.</summary>
    private const int MostTakenBytes = 2 << 20;

    private readonly RecordMemory _records;
    private readonly SslStream _tls;
    private readonly byte[] _plain = new byte[RecordMemory.MostPlainBytes]; // received
    private byte[] _portion = []; // to be sent
    private int _first;
    private int _end;
    private int _taken;

    private RingTls(Socket socket)
    {
        _records = new RecordMemory(socket);
        _tls = new SslStream(_records, leaveInnerStreamOpen: false);
    }

    /// <summary>The side that connects.</summary>
    /// <exception cref="AuthenticationException">The other end is not of the group, or does not speak TLS.</exception>
    /// <exception cref="IOException">The connection broke.</exception>
    public static Task<RingTls> ConnectAsync(Socket socket, GroupCertificate certificate, CancellationToken cancellation) =>
        BeginAsync(socket, tls => tls.AuthenticateAsClientAsync(certificate.ForClient(_ => { }), cancellation));

    /// <summary>The side that was connected to.</summary>
    /// <inheritdoc cref="ConnectAsync" path="/exception"/>
    public static Task<RingTls> AcceptAsync(Socket socket, GroupCertificate certificate, CancellationToken cancellation) =>
        BeginAsync(socket, tls => tls.AuthenticateAsServerAsync(certificate.ForServer(_ => { }), cancellation));

    /// <inheritdoc cref="RingWire.TrySend"/>
    public int TrySend(ReadOnlySpan<byte> bytes, out string fault)
    {
        if (_taken == 0 && !TryEncrypt(bytes[..Math.Min(bytes.Length, MostTakenBytes)], out fault))
            return -1;
        if (!_records.TryPush(out fault))
            return fault.Length > 0 ? -1 : 0;
        int sent = _taken;
        _taken = 0;
        return sent;
    }

    /// <inheritdoc cref="RingWire.TryReceive"/>
    public int TryReceive(Span<byte> room, out string fault)
    {
        int given = 0;
        fault = "";
        while (given < room.Length)
        {
            if (_first == _end)
            {
                int read = Decrypt(ref fault, mayCall: given == 0);
                if (read <= 0)
                    return given > 0 ? given : read; // a connection that has ended says so again
            }
            int count = Math.Min(room.Length - given, _end - _first);
            _plain.AsSpan(_first, count).CopyTo(room[given..]);
            _first += count;
            given += count;
        }
        return given;
    }

    /// <inheritdoc/>
    public void Dispose() => _tls.Dispose();

    private static async Task<RingTls> BeginAsync(Socket socket, Func<SslStream, Task> handshake)
    {
        socket.Blocking = false;
        RingTls tls = new(socket);
        try
        {
            await handshake(tls._tls);
            return tls;
        }
        catch
        {
            tls.Dispose();
            throw;
        }
    }

    private bool TryEncrypt(ReadOnlySpan<byte> bytes, out string fault)
    {
        fault = "";
        if (_portion.Length == 0)
            _portion = new byte[PortionBytes]; // most connections are never sent on
        while (_taken < bytes.Length)
        {
            int count = Math.Min(bytes.Length - _taken, PortionBytes);
            bytes.Slice(_taken, count).CopyTo(_portion);
            try
            {
                _tls.Write(_portion, 0, count);
            }
            catch (IOException broken)
            {
                fault = broken.Message;
                return false;
            }
            _taken += count;
            if (!_records.TryPush(out fault) && fault.Length > 0)
                return false;
        }
        return true;
    }

    /// <summary>Decrypts the next record; as <see cref="TryReceive"/> says.</summary>
    private int Decrypt(ref string fault, bool mayCall)
    {
        if (!_records.HasRecord)
        {
            int arrived = mayCall || _records.HasPart ? _records.Fill(out fault) : 0;
            if (arrived < 0 || !_records.HasRecord)
                return Math.Min(arrived, 0);
        }
        try
        {
            _first = 0;
            _end = _tls.Read(_plain, 0, RecordMemory.MostPlainBytes);
        }
        catch (RecordMemory.NothingException)
        {
            _end = 0; // the record carried no data
            return 0;
        }
        catch (IOException broken)
        {
            _end = 0;
            fault = broken.Message;
            return -1;
        }
        fault = _end == 0 ? "it was closed" : "";
        return _end == 0 ? -1 : _end;
    }
}

/// <summary>The memory between TLS and a socket that never blocks: whole records in, records out.</summary>
/// <remarks>
/// TLS is given one record at a time and never a part of the next one, so all that is not yet decrypted lies here.
/// Source  RFC 8446, §5.1: a record is type, version (2 bytes), length (2 bytes, big end first), and so many bytes.
/// </remarks>
internal sealed class RecordMemory(Socket socket) : Stream
{
    /// <summary>Most bytes that a record carries.</summary>
    public const int MostPlainBytes = 1 << 14;

    private const int HeadBytes = 5;
    private const int MostRecordBytes = HeadBytes + MostPlainBytes + 256;
    private const byte FirstType = 20, LastType = 23, MajorVersion = 3;
    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan s_longestPause = TimeSpan.FromMilliseconds(50);

    private readonly byte[] _in = new byte[8 * MostRecordBytes];
    private int _inFirst;
    private int _inEnd;
    private int _lent; // bytes that TLS has still to take of the record it was given
    private byte[] _out = new byte[5 * MostRecordBytes];
    private int _outFirst;
    private int _outEnd;

    /// <summary>Whether TLS can be asked without waiting. What is no record counts as one: TLS says so.</summary>
    public bool HasRecord => _inEnd - _inFirst is var bytes && bytes >= HeadBytes && bytes >= RecordBytes;

    /// <summary>Whether a part of a record has arrived, whose rest may have, too.</summary>
    public bool HasPart => _inEnd > _inFirst;

    /// <inheritdoc/>
    public override bool CanRead => true;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override bool CanWrite => true;

    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    private int RecordBytes
    {
        get
        {
            ReadOnlySpan<byte> head = _in.AsSpan(_inFirst, HeadBytes);
            int bytes = HeadBytes + BinaryPrimitives.ReadUInt16BigEndian(head[3..]);
            return head[0] is >= FirstType and <= LastType && head[1] == MajorVersion && bytes <= MostRecordBytes ? bytes : HeadBytes;
        }
    }

    /// <summary>Takes what has arrived: bytes, 0 where there are none yet, −1 where the connection is broken or at its end.</summary>
    public int Fill(out string fault)
    {
        if (_inFirst > 0)
        {
            Buffer.BlockCopy(_in, _inFirst, _in, 0, _inEnd - _inFirst);
            _inEnd -= _inFirst;
            _inFirst = 0;
        }
        int received = RingWire.Receive(socket, _in.AsSpan(_inEnd), out fault);
        _inEnd += Math.Max(received, 0);
        return received;
    }

    /// <summary>Sends what waits; false where some is left, or the connection is broken, which <paramref name="fault"/> tells.</summary>
    public bool TryPush(out string fault)
    {
        fault = "";
        while (_outFirst < _outEnd)
        {
            int sent = RingWire.Send(socket, _out.AsSpan(_outFirst, _outEnd - _outFirst), out fault);
            if (sent <= 0)
                return false;
            _outFirst += sent;
        }
        _outFirst = _outEnd = 0;
        return true;
    }

    /// <summary>For TLS: from the record under way, or else the next one.</summary>
    /// <exception cref="NothingException">No record has arrived whole.</exception>
    public override int Read(Span<byte> buffer)
    {
        if (_lent == 0)
            _lent = HasRecord ? RecordBytes : throw new NothingException();
        int count = Math.Min(buffer.Length, _lent);
        _in.AsSpan(_inFirst, count).CopyTo(buffer);
        _inFirst += count;
        _lent -= count;
        return count;
    }

    /// <summary>For TLS: kept until it leaves.</summary>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        if (_out.Length - _outEnd < buffer.Length)
            MakeRoom(buffer.Length);
        buffer.CopyTo(_out.AsSpan(_outEnd));
        _outEnd += buffer.Length;
    }

    private void MakeRoom(int bytes)
    {
        Buffer.BlockCopy(_out, _outFirst, _out, 0, _outEnd - _outFirst);
        _outEnd -= _outFirst;
        _outFirst = 0;
        if (_out.Length - _outEnd < bytes)
            Array.Resize(ref _out, Math.Max(2 * _out.Length, _outEnd + bytes));
    }

    /// <summary>For the handshake: waits for a record.</summary>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        for (TimeSpan pause = s_firstPause; _lent == 0 && !HasRecord; pause = pause < s_longestPause ? pause * 2 : pause)
        {
            int arrived = Fill(out string fault);
            if (arrived < 0)
                throw new IOException(fault);
            if (arrived == 0)
                await Task.Delay(pause, cancellationToken);
        }
        return Read(buffer.Span);
    }

    /// <summary>For the handshake: waits until it has left.</summary>
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        Write(buffer.Span);
        while (!TryPush(out string fault))
        {
            if (fault.Length > 0)
                throw new IOException(fault);
            await Task.Delay(s_firstPause, cancellationToken);
        }
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <inheritdoc/>
    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <summary>Nothing to do: what is written leaves by <see cref="TryPush"/>.</summary>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <summary>TLS asked for a record that is not there yet.</summary>
    internal sealed class NothingException() : IOException("no record has arrived");
}
