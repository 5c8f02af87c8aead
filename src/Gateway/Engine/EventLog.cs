using System.Runtime.CompilerServices;

namespace TpServe.Gateway.Engine;

/// <summary>The events of one request, in order, for one reader at a time.</summary>
/// <remarks>
/// While it keeps, a later reader gets everything from the first event on; else an event is gone once it is read.
/// Writing never waits: a client that reads slowly holds only its own events, never a row or a block.
/// Threads  writer and readers are independent; a new reader ends the one before it.
/// </remarks>
internal sealed class EventLog(bool keeps)
{
    private readonly Lock _gate = new();
    private readonly List<GenerationEvent> _events = [];
    private TaskCompletionSource _changed = Signal();
    private int _dropped; // events before the first in the list
    private int _reader;
    private bool _keeps = keeps;
    private bool _complete;
    private Exception? _failure;

    /// <summary>About what it holds in memory.</summary>
    public long Bytes { get; private set; }

    /// <summary>Nothing is lost yet: a reader can begin anew.</summary>
    public bool IsWhole
    {
        get
        {
            lock (_gate)
                return _dropped == 0;
        }
    }

    /// <summary>Adds an event; nothing after the end.</summary>
    public void Append(GenerationEvent happened)
    {
        lock (_gate)
        {
            if (_complete)
                return;
            _events.Add(happened);
            Bytes += BytesOf(happened);
            Wake();
        }
    }

    /// <summary>No more events: after the last one a reader sees the exception, or the end where there is none.</summary>
    public void Complete(Exception? failure)
    {
        lock (_gate)
        {
            if (_complete)
                return;
            _complete = true;
            _failure = failure;
            Wake();
        }
    }

    /// <summary>From now on what is read is gone, and so is what was read before.</summary>
    public void StopKeeping()
    {
        lock (_gate)
            _keeps = false;
    }

    /// <summary>The events from the first one kept.</summary>
    /// <exception cref="StreamTakenOverException">Another reader has begun.</exception>
    public async IAsyncEnumerable<GenerationEvent> ReadAsync([EnumeratorCancellation] CancellationToken cancellation)
    {
        int reader, next = 0;
        lock (_gate)
        {
            reader = ++_reader;
            next = _dropped;
            Wake(); // the reader before must see that it is over
        }
        while (true)
        {
            (GenerationEvent? happened, Task? wait) = Next(reader, ref next);
            if (happened is not null)
                yield return happened;
            else if (wait is not null)
                await wait.WaitAsync(cancellation);
            else
                yield break;
        }
    }

    /// <summary>The next event, else what to wait for, else neither: the end.</summary>
    private (GenerationEvent? Happened, Task? Wait) Next(int reader, ref int next)
    {
        lock (_gate)
        {
            if (reader != _reader)
                throw new StreamTakenOverException();
            if (next - _dropped < _events.Count)
            {
                GenerationEvent happened = _events[next++ - _dropped];
                if (!_keeps)
                    Drop(next - _dropped);
                return (happened, null);
            }
            if (!_complete)
                return (null, _changed.Task);
            return _failure is null ? (null, null) : throw _failure;
        }
    }

    private void Drop(int count)
    {
        for (int i = 0; i < count; i++)
            Bytes -= BytesOf(_events[i]);
        _events.RemoveRange(0, count);
        _dropped += count;
    }

    private void Wake()
    {
        TaskCompletionSource changed = _changed;
        _changed = Signal();
        changed.SetResult();
    }

    private static TaskCompletionSource Signal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static long BytesOf(GenerationEvent happened) =>
        happened is DeltaEvent delta ? 96 + 2L * delta.Text.Length + BytesOf(delta.Tokens) + BytesOf(delta.PromptTokens) : 128;

    private static long BytesOf(IReadOnlyList<ReportedToken> tokens)
    {
        long bytes = 0;
        for (int i = 0; i < tokens.Count; i++)
            bytes += 48 + 8 * (tokens[i].Logprobs?.TopIds.Count ?? 0);
        return bytes;
    }
}
