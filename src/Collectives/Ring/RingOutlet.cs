using System.Diagnostics;

namespace TpServe.Collectives.Ring;

/// <summary>The sending side towards one peer: frames in order, as far as the connection takes them at once; the rest waits for the <see cref="RingPump"/>.</summary>
/// <remarks>
/// Threads  the rank's thread posts and waits, the pump pushes; the lock orders them.
/// Memory   a frame is not copied: its owner writes it again only after <see cref="WaitUntilSent"/> has seen its round leave.
/// </remarks>
internal sealed unsafe class RingOutlet(int peer, RingWire wire) : IDisposable
{
    /// <summary>Frames under way at most: those of two rounds, and a goodbye.</summary>
    private const int MostFrames = 4;

    private readonly object _gate = new();
    private readonly Frame[] _frames = new Frame[MostFrames];
    private int _first;
    private int _count;
    private int _firstSent;
    private string? _fault;

    /// <summary>Rank at the other end.</summary>
    public int Peer => peer;

    /// <summary>How the connection broke, if it did.</summary>
    public string? Fault
    {
        get
        {
            lock (_gate)
                return _fault;
        }
    }

    /// <summary>Queues a frame and sends what leaves at once; false where the pump must see to the rest.</summary>
    public bool Post(long round, byte* head, byte* block, int bytes)
    {
        lock (_gate)
        {
            if (_fault is not null)
                return true; // whoever waits for it to leave is told
            if (_count == MostFrames)
                throw new InvalidOperationException($"{MostFrames} frames are under way to rank {peer}; the rounds before them were not waited for.");
            _frames[(_first + _count++) % MostFrames] = new Frame(round, head, block, bytes);
            return _count == 1 && Push() && _count == 0; // behind others it waits its turn
        }
    }

    /// <summary>Sends what the connection takes; false where it took nothing although something waits.</summary>
    public bool TryPush(out bool isEmpty)
    {
        lock (_gate)
        {
            bool moved = Push();
            isEmpty = _count == 0;
            return moved;
        }
    }

    /// <summary>Waits until there is room again, or for so long.</summary>
    public void WaitWritable(TimeSpan limit) => wire.WaitWritable(limit);

    /// <summary>Waits until the frames of a round and those before it have left, so that their memory may be written again.</summary>
    public void WaitUntilSent(OperationContext operation, long round, RingMailbox mailbox)
    {
        lock (_gate)
        {
            while (true)
            {
                if (_fault is not null)
                    throw mailbox.Aborted?.ToException(mailbox.Epoch) ?? operation.PeerGone(peer, $"the stream to it broke: {_fault}");
                if (_count == 0 || _frames[_first].Round > round)
                    return;
                if (mailbox.Aborted is { } abort)
                    throw abort.ToException(mailbox.Epoch);
                TimeSpan remaining = operation.Remaining;
                if (remaining <= TimeSpan.Zero)
                    throw operation.Timeout(peer);
                long since = Stopwatch.GetTimestamp();
                Monitor.Wait(_gate, RingMailbox.Slice(remaining));
                operation.NoteWait(since);
            }
        }
    }

    /// <summary>Waits until everything has left, the connection has broken, or the time is over.</summary>
    public void Drain(TimeSpan limit)
    {
        long until = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        lock (_gate)
            while (_count > 0 && Environment.TickCount64 < until)
                Monitor.Wait(_gate, RingMailbox.Slice(limit));
    }

    /// <summary>Closes the connection; what has not left by now never does.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _fault ??= "it was left";
            _count = 0;
            wire.Dispose();
        }
    }

    /// <summary>Under the lock. The frames' memory is their owner's, who keeps it until they have left or this is disposed.</summary>
    private bool Push()
    {
        bool moved = _count == 0;
        while (_count > 0 && _fault is null)
        {
            ref readonly Frame frame = ref _frames[_first];
            int sent = wire.TrySend(frame.From(_firstSent), out string fault);
            if (sent == 0)
                break;
            moved = true;
            if (sent < 0)
            {
                _fault = fault;
                _count = 0;
                Monitor.PulseAll(_gate);
                break;
            }
            _firstSent += sent;
            if (_firstSent < RingFrame.HeadBytes + frame.Bytes)
                continue;
            _firstSent = 0;
            _first = (_first + 1) % MostFrames;
            _count--;
            Monitor.PulseAll(_gate);
        }
        return moved;
    }

    private readonly struct Frame(long round, byte* head, byte* block, int bytes)
    {
        public long Round => round;

        public int Bytes => bytes;

        /// <summary>What can be sent in one call when so many bytes of the frame have left.</summary>
        public ReadOnlySpan<byte> From(int sent)
        {
            if (block == head + RingFrame.HeadBytes)
                return new ReadOnlySpan<byte>(head + sent, RingFrame.HeadBytes + bytes - sent);
            return sent < RingFrame.HeadBytes
                ? new ReadOnlySpan<byte>(head + sent, RingFrame.HeadBytes - sent)
                : new ReadOnlySpan<byte>(block + sent - RingFrame.HeadBytes, RingFrame.HeadBytes + bytes - sent);
        }
    }
}
