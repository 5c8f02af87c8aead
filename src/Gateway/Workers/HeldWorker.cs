using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>The process of a worker, where this gateway started it.</summary>
/// <remarks>Threads  any; <see cref="Exited"/> completes once.</remarks>
internal interface IWorkerProcess : IAsyncDisposable
{
    /// <summary>Process id.</summary>
    int Id { get; }

    /// <summary>Completes with the exit code.</summary>
    Task<int> Exited { get; }

    /// <summary>The last lines it printed, for the message when it died.</summary>
    string Tail { get; }

    /// <summary>Kills it at once.</summary>
    void Kill();
}

/// <summary>Where the workers of a group come from.</summary>
internal interface IWorkerSource : IDisposable
{
    /// <summary>How long a worker may take to answer for the first time.</summary>
    TimeSpan Patience { get; }

    /// <summary>Starts a worker, or connects to one that runs elsewhere.</summary>
    /// <param name="seat">Which of the workers that the settings ask for, 0-based.</param>
    /// <exception cref="WorkerStartException">It cannot be started.</exception>
    HeldWorker Open(int seat);
}

/// <summary>One worker as the group holds it, over as many epochs as it lives.</summary>
/// <remarks>Threads  the group's life; <see cref="Fence"/> from any.</remarks>
internal sealed class HeldWorker(int seat, IWorkerLink link, IWorkerProcess? process) : IAsyncDisposable
{
    private volatile bool _fenced;

    /// <summary>Which of the workers that the settings ask for, 0-based. Its rank is its place among those that compute.</summary>
    public int Seat => seat;

    public IWorkerLink Link => link;

    /// <summary>Null where it was started elsewhere.</summary>
    public IWorkerProcess? Process => process;

    /// <summary>What it can do; null until it has answered.</summary>
    public HelloReply? Facts { get; set; }

    /// <summary>Whether the next epoch can count on it.</summary>
    public bool IsAlive => !_fenced && Facts is not null && process?.Exited.IsCompleted != true;

    /// <summary>Which worker, for people.</summary>
    public string Name => process is null ? link.Address : $"pid {process.Id}";

    /// <summary>It takes no more part: killed where it was started here, cut off where it was not.</summary>
    public void Fence()
    {
        _fenced = true;
        process?.Kill();
        link.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        _fenced = true;
        link.Dispose();
        if (process is not null)
            await process.DisposeAsync();
    }
}
