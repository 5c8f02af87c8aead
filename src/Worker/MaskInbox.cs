using System.Diagnostics;
using TpServe.Collectives;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>What rows of steps may sample, on its way from the gateway to the rank's thread, which needs it when the rows are computed.</summary>
/// <remarks>Threads   <see cref="Post"/> and <see cref="Close"/> from any; <see cref="Take"/> on the rank's thread, where it ends with the patience at the latest.</remarks>
/// <param name="patience">How long the rank waits: no longer than its peers wait for it.</param>
internal sealed class MaskInbox(Func<TimeSpan> patience)
{
    private readonly object _gate = new(); // a monitor: the rank waits on it
    private readonly Queue<StepMasks> _posted = new();
    private string? _closed;

    /// <summary>What a step may sample has come.</summary>
    public void Post(StepMasks masks)
    {
        lock (_gate)
        {
            _posted.Enqueue(masks);
            Monitor.Pulse(_gate);
        }
    }

    /// <summary>Nothing comes any more. The first reason stands.</summary>
    public void Close(string reason)
    {
        lock (_gate)
        {
            _closed ??= reason;
            Monitor.Pulse(_gate);
        }
    }

    /// <summary>What the step may sample, once it is there.</summary>
    /// <exception cref="RevokedException">It was closed.</exception>
    /// <exception cref="PlanMismatchException">Nothing came in time, or what belongs to another step.</exception>
    public StepMasks Take(long epoch, long step)
    {
        long start = Stopwatch.GetTimestamp();
        TimeSpan limit = patience();
        lock (_gate)
        {
            while (_posted.Count == 0)
            {
                if (_closed is not null)
                    throw new RevokedException(epoch, _closed);
                TimeSpan left = limit - Stopwatch.GetElapsedTime(start);
                if (left <= TimeSpan.Zero || !Monitor.Wait(_gate, left))
                    throw new PlanMismatchException($"what step {step} may choose has not come within {limit.TotalSeconds:0.###} s.");
            }
            StepMasks masks = _posted.Dequeue();
            return masks.Epoch == epoch && masks.Step == step
                ? masks
                : throw new PlanMismatchException($"what step {masks.Step} of epoch {masks.Epoch} may choose came where step {step} of epoch {epoch} waits for it.");
        }
    }
}
