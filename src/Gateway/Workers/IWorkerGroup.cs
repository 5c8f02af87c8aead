using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>The ranks that compute together, as the engine sees them: ready, run a step, lost, ready again.</summary>
/// <remarks>
/// Threads  RunStepAsync and WaitReadyAsync are called by the engine's loop alone; State and Topology by anyone.
/// </remarks>
public interface IWorkerGroup
{
    /// <summary>Waits until the group can run steps and returns its life: epoch and KV blocks.</summary>
    Task<GroupLife> WaitReadyAsync(CancellationToken cancellation);

    /// <summary>Runs one step on every rank; rank 0's result.</summary>
    /// <exception cref="WorkerLostException">The epoch has died: call WaitReadyAsync again.</exception>
    Task<StepResult> RunStepAsync(StepPlan plan, CancellationToken cancellation);

    /// <summary>What the group is doing.</summary>
    GroupState State { get; }

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
