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
