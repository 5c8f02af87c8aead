using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>The ranks that compute together, as the engine sees them: ready, run a step, lost, ready again.</summary>
public interface IWorkerGroup
{
    /// <summary>Waits until the group can run steps and returns its life.</summary>
    /// <exception cref="GroupUnavailableException">The circuit has opened while waiting.</exception>
    Task<GroupLife> WaitReadyAsync(CancellationToken cancellation);

    /// <summary>Sends a plan to every rank; at most two may be in flight. Does not wait for the result.</summary>
    /// <exception cref="WorkerLostException">The epoch has died: call WaitReadyAsync again.</exception>
    Task SendAsync(StepPlan plan, CancellationToken cancellation);

    /// <summary>Rank 0's result of the oldest step in flight, once every rank has answered.</summary>
    /// <exception cref="WorkerLostException">The epoch died first.</exception>
    Task<StepResult> ReceiveAsync(CancellationToken cancellation);

    /// <summary>The group's answers were impossible: the epoch ends as lost.</summary>
    void Condemn(long epoch, string reason);

    /// <summary>What the group is doing.</summary>
    GroupState State { get; }

    /// <summary>Why it is not ready though it was, or why the circuit is open; null while it is ready, or starts for the first time.</summary>
    string? Outage { get; }

    /// <summary>The ranks, what they own, and where their last step's time went.</summary>
    GetTopologyResponse Topology();
}

/// <summary>One life of the worker group: its epoch, and the KV cache that every rank has laid out alike.</summary>
public sealed record GroupLife(long Epoch, int KvBlocks, int BlockTokens);

/// <summary>Who is told how the group's life goes: the banner at the terminal, nobody in tests.</summary>
public interface IGroupObserver
{
    /// <summary>A rank's load advances; may come from any thread.</summary>
    void Loading(int rank, string stage, long doneBytes, long totalBytes);

    /// <summary>The group can run steps.</summary>
    void Ready(GetTopologyResponse topology);

    /// <summary>The epoch has ended; the group starts over.</summary>
    void Lost(long epoch, string reason);
}
