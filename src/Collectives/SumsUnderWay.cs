using System.Diagnostics;
using System.Runtime.ExceptionServices;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives;

/// <summary>Sums of a rank that run on a thread of their own while the rank's thread computes.</summary>
/// <remarks>
/// Who calls the group: this thread while a sum is under way, the rank's thread at all other times. A monitor hands over between the two, so that the
/// group needs no lock for it. A sum that fails takes those behind it with it: the epoch is dead, and they fail by themselves.
/// Threads  <see cref="Begin"/> and <see cref="End"/> on the rank's thread; <see cref="Dispose"/> on it or after it.
/// </remarks>
internal sealed class SumsUnderWay : IDisposable
{
    private readonly object _gate = new(); // a monitor: both threads wait on it
    private readonly Queue<Sum> _waiting = new(), _ended = new();
    private readonly Thread _thread;
    private int _underWay;
    private bool _quit;

    public SumsUnderWay()
    {
        _thread = new Thread(Run) { IsBackground = true, Name = "sums" };
        _thread.Start();
    }

    /// <summary>Whether a sum has been begun whose end nobody has waited for.</summary>
    public bool Any => _underWay > 0; // the rank's thread alone writes it

    /// <summary>Begins a sum behind those under way.</summary>
    public void Begin(ICommunicator group, Tensor pieces, LeafShare share, Tensor y)
    {
        lock (_gate)
        {
            _underWay++;
            _waiting.Enqueue(new Sum(group, pieces, share, y));
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Waits for the oldest sum under way. Its wait ends as the operation's does: with the peers, at its deadline, or with the epoch.</summary>
    /// <exception cref="GroupLostException">What the sum ended with.</exception>
    public SumRan End()
    {
        Sum sum;
        lock (_gate)
        {
            if (_underWay == 0)
                throw new InvalidOperationException("No sum is under way.");
            while (_ended.Count == 0)
                Monitor.Wait(_gate);
            sum = _ended.Dequeue();
            _underWay--;
        }
        if (sum.Fault is { } fault)
            ExceptionDispatchInfo.Throw(fault);
        return sum.Ran;
    }

    /// <summary>Ends the thread, once what is under way has ended; the caller has revoked it where it might not.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _quit = true;
            Monitor.PulseAll(_gate);
        }
        _thread.Join();
    }

    private void Run()
    {
        while (true)
        {
            Sum sum;
            lock (_gate)
            {
                while (_waiting.Count == 0 && !_quit)
                    Monitor.Wait(_gate);
                if (!_waiting.TryDequeue(out sum!))
                    return;
            }
            sum.Run();
            lock (_gate)
            {
                _ended.Enqueue(sum);
                Monitor.PulseAll(_gate);
            }
        }
    }

    private sealed class Sum(ICommunicator group, Tensor pieces, LeafShare share, Tensor y)
    {
        public Exception? Fault { get; private set; }

        public SumRan Ran { get; private set; }

        public void Run()
        {
            long start = Stopwatch.GetTimestamp();
            try
            {
                TimeSpan waited = group.Waited;
                Traffic sent = group.Sent;
                group.TakeElapsed();
                group.SumTree(pieces, share, y);
                Ran = new SumRan(start, Stopwatch.GetTimestamp(), group.TakeElapsed(), group.Waited - waited, group.Sent - sent, y.Rows, y.Columns);
            }
            catch (Exception fault) // the rank's thread throws it on
            {
                Fault = fault;
            }
        }
    }
}

/// <summary>What a sum came to that ran beside the rank's thread.</summary>
/// <param name="Start">Stopwatch ticks.</param>
/// <param name="End">Stopwatch ticks.</param>
/// <param name="Elapsed">In the operation.</param>
/// <param name="Waited">Of it for peers.</param>
/// <param name="Sent">Bytes.</param>
/// <param name="Rows">Of the sum.</param>
/// <param name="Columns">Of the sum.</param>
internal readonly record struct SumRan(long Start, long End, TimeSpan Elapsed, TimeSpan Waited, Traffic Sent, int Rows, int Columns);
