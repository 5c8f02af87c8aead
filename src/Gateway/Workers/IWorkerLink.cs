using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>The gateway's end of one worker.</summary>
/// <remarks>Threads   any.</remarks>
internal interface IWorkerLink : IIpcPeer, IDisposable
{
    /// <summary>unix:PATH or http://host:port.</summary>
    string Address { get; }

    /// <summary>Asks until the worker answers: its socket appears only once it listens.</summary>
    /// <param name="surveyGpus">Have it look for GPUs, which may take seconds.</param>
    /// <param name="timeout">How long to ask.</param>
    /// <param name="cancellation">Ends the asking.</param>
    /// <exception cref="WorkerStartException">No answer in time, or a refusal.</exception>
    Task<HelloReply> HelloAsync(bool surveyGpus, TimeSpan timeout, CancellationToken cancellation);

    /// <summary>Whether the worker is this gateway's: no other one is let in.</summary>
    bool IsHeld { get; }

    /// <summary>Takes the worker for this gateway, for as long as the link lives. Where another gateway has it, asks until that one has gone.</summary>
    /// <param name="timeout">How long to ask.</param>
    /// <param name="cancellation">Ends the asking.</param>
    /// <exception cref="WorkerStartException">Another gateway has it, or the link broke.</exception>
    Task HoldAsync(TimeSpan timeout, CancellationToken cancellation);

    /// <summary>Has the worker time its device; nothing may be loaded on it.</summary>
    /// <exception cref="WorkerStartException">The worker's reason, or no answer in time.</exception>
    Task<MeasureReply> MeasureAsync(MeasureRequest request, TimeSpan timeout, CancellationToken cancellation);

    /// <summary>Has it time the way to another worker, which is asked at the same time.</summary>
    /// <exception cref="WorkerStartException">The worker's reason, or no answer in time.</exception>
    Task<MeasureLinkReply> MeasureLinkAsync(MeasureLinkRequest request, TimeSpan timeout, CancellationToken cancellation);

    /// <summary>Loads the shard, passing on progress.</summary>
    /// <exception cref="WorkerStartException">The worker's reason.</exception>
    Task<LoadReport> LoadAsync(LoadRequest request, Action<LoadProgress> progress, CancellationToken cancellation);

    /// <summary>Loads one more adapter beside the shard.</summary>
    /// <exception cref="WorkerStartException">The worker's reason, or no answer in time.</exception>
    Task LoadLoraAsync(LoadLoraRequest request, TimeSpan timeout, CancellationToken cancellation) => Task.CompletedTask;

    /// <summary>Frees an adapter that no sequence was ever on; a worker that cannot be reached is left alone.</summary>
    Task UnloadLoraAsync(int id, TimeSpan timeout) => Task.CompletedTask;

    /// <summary>Opens a step stream; the one before has ended.</summary>
    IStepStream OpenRun();

    /// <summary>Whether the worker answers within the time, whatever its rank is doing.</summary>
    Task<bool> PingAsync(TimeSpan timeout, CancellationToken cancellation);

    /// <summary>Wakes everything that waits inside the worker for a lost peer; a worker that cannot be reached is left alone.</summary>
    Task RevokeAsync(long epoch, string reason, TimeSpan timeout);
}

/// <summary>The step stream of one worker: plans go out, results come back in order.</summary>
/// <remarks>Threads   one sender and one receiver at a time, which may overlap; the rest from any.</remarks>
internal interface IStepStream : IDisposable
{
    /// <summary>Completes when the stream has ended, by whomever.</summary>
    Task<StreamEnd> Ended { get; }

    /// <summary>Sends a plan.</summary>
    /// <exception cref="Exception">The stream has broken; <see cref="Ended"/> says how.</exception>
    Task SendAsync(StepPlan plan, CancellationToken cancellation);

    /// <summary>Sends what rows of a step may sample.</summary>
    /// <exception cref="Exception">As above.</exception>
    Task SendAsync(StepMasks masks, CancellationToken cancellation);

    /// <summary>The next result.</summary>
    /// <exception cref="System.Threading.Channels.ChannelClosedException">There will be none: the stream ended or was given up.</exception>
    ValueTask<StepResult> ReceiveAsync(CancellationToken cancellation);

    /// <summary>Tells the worker that no more plans come: it ends the stream when it has answered those it has.</summary>
    Task FinishAsync();

    /// <summary>Lets no result out any more: who waits for one, waits no longer.</summary>
    void GiveUp();
}

/// <summary>Whose fault the end of a step stream was.</summary>
internal enum StreamFault
{
    /// <summary>The worker or its link went, or the stream was closed.</summary>
    Link,

    /// <summary>The worker waited for a peer in vain.</summary>
    Peer,

    /// <summary>A plan did not fit what the worker knows.</summary>
    Plan,

    /// <summary>The worker threw in a step.</summary>
    Step,
}

/// <summary>How a step stream ended.</summary>
internal sealed record StreamEnd(StreamFault Fault, string Reason);
