using Grpc.Core;
using TpServe.Gateway.Access;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Engine;

/// <summary>Clients that leave, come back and end what they began; each only its own.</summary>
public sealed partial class InferenceEngine
{
    /// <summary>What a client that comes back to a request's stream needs to present it.</summary>
    /// <exception cref="RequestRejectedException">NOT_FOUND: there is no such stream, or it is too long ago.</exception>
    public (ValidatedRequest Request, object? Presentation) FindResumable(string requestId, Caller? caller)
    {
        lock (_gate)
        {
            ActiveRequest active = Resumable(requestId, caller);
            return (active.Request, active.Presentation);
        }
    }

    /// <summary>All events of a request from the first on, for a client that comes back to it; it goes on where it was suspended.</summary>
    /// <exception cref="RequestRejectedException">NOT_FOUND.</exception>
    public IAsyncEnumerable<GenerationEvent> ResumeAsync(string requestId, Caller? caller, CancellationToken cancellation = default)
    {
        return ReadAsync(Find, cancellation);

        ActiveRequest Find()
        {
            lock (_gate)
            {
                ActiveRequest active = Resumable(requestId, caller);
                active.ResumeTimer?.Dispose();
                active.ResumeTimer = null;
                foreach (ActiveOutput output in active.Outputs)
                    _scheduler.Resume(output.Sequence);
                Wake();
                active.Readers++;
                return active;
            }
        }
    }

    /// <summary>Ends a request's outputs as aborted. False where no such request of the caller's is in flight.</summary>
    public bool Abort(string requestId, Caller? caller)
    {
        lock (_gate)
        {
            if (!_active.TryGetValue(requestId, out ActiveRequest? active) || !Caller.MayTouch(caller, active.Request.Owner))
                return false;
            foreach (ActiveOutput output in active.Outputs)
                if (!output.Finished)
                {
                    _scheduler.Abort(output.Sequence);
                    output.Abort();
                }
            EngineLog.Ended(_log, requestId, "aborted");
            Retire(active);
            Wake();
            return true;
        }
    }

    /// <summary>A client that left and asks anew under the same id does not want the old stream any more.</summary>
    private void ForgetLeft(ValidatedRequest request)
    {
        if (_resumable.Find(request.RequestId) is not { Readers: 0 } left || left.Request.Owner?.Name != request.Owner?.Name)
            return;
        _resumable.Remove(left);
        Fail(left, null);
    }

    private ActiveRequest Resumable(string requestId, Caller? caller) => _resumable.Find(requestId) is { } found && Caller.MayTouch(caller, found.Request.Owner) ? found : throw new RequestRejectedException(
        StatusCode.NotFound, "STREAM_NOT_FOUND", $"There is no stream of request '{requestId}' to go on with; it may have been left more than {_settings.ResumeWindow.TotalSeconds:0.#} s ago.", "request_id", requestId);

    /// <summary>The client is gone: its request is suspended, or over.</summary>
    private void Leave(ActiveRequest active)
    {
        lock (_gate)
        {
            if (--active.Readers > 0)
                return;
            if (!active.IsResumable)
            {
                if (!active.Ended)
                    EngineLog.Left(_log, active.Request.RequestId, active.Elapsed.TotalSeconds);
                Fail(active, null);
                return;
            }
            active.ResumeTimer = _clock.CreateTimer(_ => Forget(active), null, _settings.ResumeWindow, Timeout.InfiniteTimeSpan);
            if (active.Ended)
            {
                _resumable.Rest(active);
            }
            else
            {
                EngineLog.Suspended(_log, active.Request.RequestId, active.Elapsed.TotalSeconds);
                foreach (ActiveOutput output in active.Outputs)
                    _scheduler.Suspend(output.Sequence);
                if (_refusing is not null)
                    Forget(active); // a server that drains does not wait for who may come back
                Wake();
            }
            ShrinkResumable();
        }
    }

    private void Forget(ActiveRequest active)
    {
        lock (_gate)
        {
            if (active.Readers > 0)
                return;
            _resumable.Remove(active);
            Fail(active, null);
        }
    }

    private void ShrinkResumable()
    {
        foreach (ActiveRequest gone in _resumable.Shrink())
            Fail(gone, null);
    }
}
