using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Requests;

/// <summary>Bounds the text that is laid out and tokenized at once: long prompts wait for each other, in the order of their arrival.</summary>
/// <remarks>
/// Tokenizing takes many times a text's own length, so that a few clients with the longest prompts there are would otherwise take the gateway's memory and
/// its cores. Short ones pass without waiting.
/// Threads  any.
/// </remarks>
/// <param name="characters">UTF-16 units at once; a longer text waits for all of it.</param>
/// <param name="lightCharacters">Up to so many pass without waiting.</param>
/// <param name="clock">What deadlines are by.</param>
/// <param name="purpose">What is waited for, in errors.</param>
internal sealed class EncodingRoom(long characters, long lightCharacters, TimeProvider clock, string purpose = "the prompt waited to be tokenized behind other long ones")
{
    private static readonly TimeSpan s_longestTimer = TimeSpan.FromDays(1);

    private readonly Lock _gate = new();
    private readonly LinkedList<(long Characters, TaskCompletionSource Entered)> _waiting = [];
    private readonly long _all = characters;
    private long _free = characters;

    /// <summary>Waits until there is room for a text; the room is given back by Dispose.</summary>
    /// <exception cref="DeadlineExceededException">The deadline came first.</exception>
    /// <exception cref="OperationCanceledException">The client has left.</exception>
    public async Task<IDisposable> EnterAsync(long length, DateTimeOffset deadline, CancellationToken cancellation)
    {
        if (length <= lightCharacters)
            return new Place(this, 0);
        length = Math.Min(length, _all);
        LinkedListNode<(long Characters, TaskCompletionSource Entered)> turn;
        lock (_gate)
        {
            if (_waiting.Count == 0 && length <= _free)
            {
                _free -= length;
                return new Place(this, length);
            }
            turn = _waiting.AddLast((length, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)));
        }
        try
        {
            await turn.Value.Entered.Task.WaitAsync(Rest(deadline, clock), clock, cancellation);
            return new Place(this, length);
        }
        catch (Exception fault) when (fault is TimeoutException or OperationCanceledException)
        {
            lock (_gate)
            {
                if (turn.List is null)
                    _free += length; // its turn came at the same moment
                else
                    _waiting.Remove(turn);
                LetIn();
            }
            if (fault is TimeoutException)
                throw new DeadlineExceededException($"The deadline came while {purpose}.");
            throw;
        }
    }

    /// <summary>The time until a deadline, as a timer can hold it.</summary>
    public static TimeSpan Rest(DateTimeOffset deadline, TimeProvider clock)
    {
        TimeSpan rest = deadline - clock.GetUtcNow();
        return rest < TimeSpan.Zero ? TimeSpan.Zero : rest < s_longestTimer ? rest : s_longestTimer;
    }

    private void Leave(long length)
    {
        lock (_gate)
        {
            _free += length;
            LetIn();
        }
    }

    /// <summary>Under the lock.</summary>
    private void LetIn()
    {
        while (_waiting.First is { } first && first.Value.Characters <= _free)
        {
            _waiting.RemoveFirst();
            _free -= first.Value.Characters;
            first.Value.Entered.SetResult();
        }
    }

    private sealed class Place(EncodingRoom room, long length) : IDisposable
    {
        private long _length = length;

        public void Dispose()
        {
            long length = Interlocked.Exchange(ref _length, 0);
            if (length > 0)
                room.Leave(length);
        }
    }
}
