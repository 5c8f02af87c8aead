namespace TpServe.Gateway.Engine;

/// <summary>How the engine deals with what goes wrong around it.</summary>
public sealed record EngineSettings
{
    /// <summary>Times one request may live through the loss of the group. Default 3.</summary>
    public int Recoveries { get; init; } = 3;

    /// <summary>How long a step may take before the group is given up: a lone prompt's chunks stay well below. Default 2 min.</summary>
    public TimeSpan StepTimeout { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>How long a client that lost its connection may come back to its stream; zero = leaving ends the request. Default 60 s.</summary>
    public TimeSpan ResumeWindow { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Most memory that the events of streams may take that somebody may come back to. Default 64 MiB.</summary>
    public long ResumeBytes { get; init; } = 64 << 20;
}

/// <summary>The requests that a client may come back to: those that run or are suspended, and those that ended a short while ago.</summary>
/// <remarks>Threads  only under the engine's lock.</remarks>
internal sealed class ResumableRequests(long mostBytes)
{
    private readonly Dictionary<string, ActiveRequest> _byId = [];
    private readonly LinkedList<ActiveRequest> _ended = []; // that nobody reads, longest ago first

    /// <summary>Keeps a request, under its id; one that has ended and had the id before can no longer be come back to.</summary>
    public void Add(ActiveRequest request)
    {
        if (Find(request.Request.RequestId) is { } before)
            Remove(before);
        _byId.Add(request.Request.RequestId, request);
    }

    /// <summary>The request of that id; null where there is none to come back to.</summary>
    public ActiveRequest? Find(string requestId) => _byId.GetValueOrDefault(requestId);

    /// <summary>It has ended and nobody reads it: the first to go where memory is short.</summary>
    public void Rest(ActiveRequest request) => _ended.AddLast(request);

    /// <summary>Forgets a request.</summary>
    public void Remove(ActiveRequest request)
    {
        if (_byId.GetValueOrDefault(request.Request.RequestId) == request)
            _byId.Remove(request.Request.RequestId);
        _ended.Remove(request);
        request.ResumeTimer?.Dispose();
        request.StopKeeping();
    }

    /// <summary>Brings the memory they take below the limit: ended requests go first, then the largest of the others can no longer be resumed.</summary>
    /// <returns>Suspended requests that went: nobody can come back to them.</returns>
    public IReadOnlyList<ActiveRequest> Shrink()
    {
        long bytes = _byId.Values.Sum(request => request.Events.Bytes);
        List<ActiveRequest> gone = [];
        while (bytes > mostBytes && (_ended.First?.Value ?? _byId.Values.MaxBy(request => request.Events.Bytes)) is { } victim)
        {
            bytes -= victim.Events.Bytes;
            Remove(victim);
            if (!victim.Ended && victim.Readers == 0)
                gone.Add(victim);
        }
        return gone;
    }
}
