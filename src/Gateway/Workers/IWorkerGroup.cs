using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>The ranks that compute together, as the engine sees them: ready, run steps, lost, ready again.</summary>
/// <remarks>
/// Threads  the engine's loop alone calls WaitReadyAsync, SendAsync, SendMasksAsync, ReceiveAsync, RestoreAsync and MoveAsync; sending and receiving may overlap. The rest by anyone.
/// </remarks>
public interface IWorkerGroup
{
    /// <summary>Waits until the group can run steps and returns its life: epoch and KV blocks.</summary>
    /// <exception cref="GroupUnavailableException">The circuit opened, once for each time it opens: what waits for the group waits for long.</exception>
    Task<GroupLife> WaitReadyAsync(CancellationToken cancellation);

    /// <summary>Sends a plan to every rank; at most two may be in flight. Does not wait for the result.</summary>
    /// <exception cref="WorkerLostException">The epoch has died: call WaitReadyAsync again.</exception>
    Task SendAsync(StepPlan plan, CancellationToken cancellation);

    /// <summary>Sends rank 0 what rows of a step in flight may sample.</summary>
    /// <exception cref="WorkerLostException">As above.</exception>
    Task SendMasksAsync(StepMasks masks, CancellationToken cancellation);

    /// <summary>Rank 0's result of the oldest step in flight, once every rank has answered.</summary>
    /// <exception cref="WorkerLostException">The epoch died first: call WaitReadyAsync again.</exception>
    Task<StepResult> ReceiveAsync(CancellationToken cancellation);

    /// <summary>The engine found the group's answers impossible: the epoch ends as lost. Nothing where it has ended already.</summary>
    void Condemn(long epoch, string reason);

    /// <summary>Fewer ranks compute than were asked for, and all of them could: <see cref="RestoreAsync"/> is worth a pause in which nothing runs.</summary>
    bool WantsRestore { get; }

    /// <summary>Ends the epoch so that the next one has all ranks; not a loss. Nothing where there is nothing to restore. Call WaitReadyAsync next.</summary>
    Task RestoreAsync();

    /// <summary>Whether another split than the present one is worth a pause, and how long it can wait.</summary>
    MoveWish WantsMove => MoveWish.None;

    /// <summary>Ends the epoch so that the next one has the split that is wanted; not a loss. No step is in flight. Call WaitReadyAsync next.</summary>
    /// <param name="usedBlocks">Blocks of the KV cache in use: the new split must hold them.</param>
    /// <param name="recompute">What it takes to compute them anew: the split must be worth that too.</param>
    /// <returns>False where the epoch goes on, and nothing is wanted for now.</returns>
    Task<bool> MoveAsync(int usedBlocks, TimeSpan recompute) => Task.FromResult(false);

    /// <summary>Wants another split and returns when the group serves with it: what was moved, or null where it has that split already.</summary>
    /// <param name="weights">A share for each worker; none = even shares.</param>
    /// <param name="when">How long it can wait.</param>
    /// <param name="cancellation">Gives it up where the move has not begun.</param>
    /// <exception cref="Requests.RequestRejectedException">The split does not fit, or did not come to be.</exception>
    Task<GroupMove?> ReshardAsync(IReadOnlyList<double> weights, MoveWish when, CancellationToken cancellation) => Task.FromResult<GroupMove?>(null);

    /// <summary>Times the group has moved to another split.</summary>
    long Moves => 0;

    /// <summary>Has every rank load one more adapter, between two steps: all or none. Callable by anyone.</summary>
    /// <exception cref="WorkerStartException">A rank's reason.</exception>
    /// <exception cref="GroupUnavailableException">The group is not ready.</exception>
    Task LoadLoraAsync(LoraAdapter adapter, CancellationToken cancellation) => Task.CompletedTask;

    /// <summary>What the group is doing.</summary>
    GroupState State { get; }

    /// <summary>Why it is not ready after it was, or why the circuit is open; null while it is ready or starts for the first time.</summary>
    string? Outage { get; }

    /// <summary>The ranks, what they own, and where their last step's time went.</summary>
    GetTopologyResponse Topology();

    /// <summary>What every rank did when in the next steps, as they end; fewer where the epoch ends first.</summary>
    /// <exception cref="Requests.RequestRejectedException">Another trace runs, or too many steps are asked for.</exception>
    IAsyncEnumerable<TracedStep> TraceAsync(int steps, CancellationToken cancellation);
}

/// <summary>One life of the worker group: its epoch, and the KV cache that every rank has laid out alike.</summary>
public sealed record GroupLife(long Epoch, int KvBlocks, int BlockTokens);

/// <summary>Who is told how the group's life goes: the banner at the terminal, nobody in tests. Never called under a lock.</summary>
public interface IGroupObserver
{
    /// <summary>A rank's load advances; may come from any thread.</summary>
    void Loading(int rank, string stage, long doneBytes, long totalBytes);

    /// <summary>The group can run steps.</summary>
    void Ready(GetTopologyResponse topology);

    /// <summary>The epoch has ended; the group starts over.</summary>
    void Lost(long epoch, string reason);

    /// <summary>The circuit is open: requests are refused.</summary>
    /// <param name="reason">What the group died of last.</param>
    /// <param name="retryAfter">When it is tried again; null = never.</param>
    void Broken(string reason, TimeSpan? retryAfter);
}
