namespace TpServe.Collectives.Ring;

/// <summary>The thread that sends what did not leave at once, so that the rank receives and computes meanwhile; it sleeps while there is nothing.</summary>
/// <remarks>Threads  <see cref="Wake"/> from any.</remarks>
internal sealed class RingPump : IDisposable
{
    /// <summary>How long it waits for one of several full connections before it looks at the others.</summary>
    private static readonly TimeSpan s_turn = TimeSpan.FromMilliseconds(1);

    private static readonly TimeSpan s_alone = TimeSpan.FromMilliseconds(20);
    private readonly object _gate = new();
    private readonly RingOutlet[] _outlets;
    private readonly Thread _thread;
    private bool _woken;
    private bool _ended;

    /// <summary>Starts the thread for these outlets.</summary>
    public RingPump(RingOutlet[] outlets, int rank)
    {
        _outlets = outlets;
        _thread = new Thread(Run) { IsBackground = true, Name = $"ring pump {rank}" };
        _thread.Start();
    }

    /// <summary>Something waits to be sent.</summary>
    public void Wake()
    {
        lock (_gate)
        {
            _woken = true;
            Monitor.Pulse(_gate);
        }
    }

    /// <summary>Ends the thread and waits for its end, which comes within a turn.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _ended = true;
            Monitor.Pulse(_gate);
        }
        _thread.Join();
    }

    private void Run()
    {
        while (true)
        {
            lock (_gate)
            {
                while (!_woken && !_ended)
                    Monitor.Wait(_gate); // ends with Wake or Dispose, which no peer can keep from coming
                if (_ended)
                    return;
                _woken = false;
            }
            while (PushAll())
                if (Volatile.Read(ref _ended))
                    return;
        }
    }

    /// <summary>Pushes every outlet once, and waits for room where none took anything; false when nothing is left.</summary>
    private bool PushAll()
    {
        bool moved = false;
        int waiting = 0;
        RingOutlet? full = null;
        foreach (RingOutlet outlet in _outlets)
        {
            moved |= outlet.TryPush(out bool isEmpty) && !isEmpty;
            if (isEmpty)
                continue;
            full = outlet;
            waiting++;
        }
        if (full is not null && !moved)
            full.WaitWritable(waiting == 1 ? s_alone : s_turn);
        return full is not null;
    }
}
