using System.Collections.Concurrent;

namespace TpServe.Worker;

/// <summary>The one thread that touches the backend and the communicator: work is queued to it and runs in order.</summary>
/// <remarks>Threads   <see cref="RunAsync"/> from anywhere; the thread waits in the kernel between pieces of work.</remarks>
public sealed class RankThread : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);

    private readonly BlockingCollection<Action> _work = [];
    private readonly Thread _thread;

    public RankThread()
    {
        _thread = new Thread(Loop) { IsBackground = true, Name = "rank" };
        _thread.Start();
    }

    /// <summary>Runs <paramref name="work"/> on the rank's thread; its exception comes back to the caller.</summary>
    public Task<T> RunAsync<T>(Func<T> work)
    {
        TaskCompletionSource<T> done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        _work.Add(() =>
        {
            try
            {
                done.SetResult(work());
            }
            catch (Exception fault)
            {
                done.SetException(fault);
            }
        });
        return done.Task;
    }

    /// <summary>Takes no more work and waits a moment for what runs. False where it still runs: what it uses must not be freed.</summary>
    public bool Stop()
    {
        _work.CompleteAdding();
        return _thread.Join(s_patience);
    }

    /// <summary>As <see cref="Stop"/>.</summary>
    public void Dispose()
    {
        if (Stop())
            _work.Dispose();
    }

    private void Loop()
    {
        foreach (Action work in _work.GetConsumingEnumerable())
            work();
    }
}
