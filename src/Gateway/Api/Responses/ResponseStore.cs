using System.Text.Json.Nodes;
using Grpc.Core;
using TpServe.Gateway.Access;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.Responses;

/// <summary>A response that is kept, so that its conversation can go on.</summary>
/// <param name="Reply">As it was answered.</param>
/// <param name="Input">The items of its own input.</param>
/// <param name="Messages">The conversation up to its end, those of the responses before it included, without instructions.</param>
/// <param name="Owner">Who asked for it; null = the server has no keys.</param>
internal sealed record StoredResponse(ResponseReply Reply, IReadOnlyList<JsonObject> Input, IReadOnlyList<ConversationMessage> Messages, Caller? Owner)
{
    /// <summary>About what it takes in memory; texts that several share count for each.</summary>
    public long Bytes { get; } = 1024 + ConversationBuilder.BytesOf(Messages)
        + (2 * Input.Sum(item => (long)item.ToJsonString().Length)) + Reply.Output.Sum(item => 512L + (2L * ((item.Arguments?.Length ?? 0) + (item.Content?.Sum(part => part.Text.Length + (128 * (part.Logprobs?.Count ?? 0))) ?? 0))));
}

/// <summary>How much of past responses is kept.</summary>
public sealed record ResponseStoreSettings
{
    /// <summary>Responses. Default 1024.</summary>
    public int Count { get; init; } = 1024;

    /// <summary>Memory of all together. Default 64 MiB.</summary>
    public long Bytes { get; init; } = 64 << 20;

    /// <summary>Age. Default 24 h.</summary>
    public TimeSpan Age { get; init; } = TimeSpan.FromHours(24);
}

/// <summary>The responses that are kept: the oldest go where there are too many, they are too large, or they are too old.</summary>
/// <remarks>
/// They live as long as the process. A response holds the whole conversation before it, so it goes on however soon the responses before it go.
/// Threads  any.
/// Errors   <see cref="RequestRejectedException"/>, NOT_FOUND, for an id that is not, or no longer, kept.
/// </remarks>
internal sealed class ResponseStore(ResponseStoreSettings settings, TimeProvider clock)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, LinkedListNode<(StoredResponse Response, DateTimeOffset At)>> _byId = [];
    private readonly LinkedList<(StoredResponse Response, DateTimeOffset At)> _byAge = []; // oldest first
    private long _bytes;

    /// <summary>Whether anything is kept at all.</summary>
    public bool Keeps => settings.Count > 0;

    /// <summary>Keeps a response; one that was kept under its id goes.</summary>
    public void Add(StoredResponse response)
    {
        lock (_gate)
        {
            if (_byId.TryGetValue(response.Reply.Id, out LinkedListNode<(StoredResponse Response, DateTimeOffset At)>? before))
                Drop(before);
            _byId[response.Reply.Id] = _byAge.AddLast((response, clock.GetUtcNow()));
            _bytes += response.Bytes;
            Trim();
        }
    }

    /// <summary>The response of an id, where it is the caller's to see.</summary>
    public StoredResponse Get(string id, Caller? caller, string? field = null)
    {
        lock (_gate)
            return Find(id, caller, field).Value.Response;
    }

    /// <summary>Forgets the response of an id.</summary>
    public void Remove(string id, Caller? caller)
    {
        lock (_gate)
            Drop(Find(id, caller, null));
    }

    private LinkedListNode<(StoredResponse Response, DateTimeOffset At)> Find(string id, Caller? caller, string? field)
    {
        Trim();
        return _byId.TryGetValue(id, out LinkedListNode<(StoredResponse Response, DateTimeOffset At)>? node) && Caller.MayTouch(caller, node.Value.Response.Owner) ? node : throw Missing(id, field);
    }

    private void Trim()
    {
        DateTimeOffset oldest = clock.GetUtcNow() - settings.Age;
        while (_byAge.First is { } first && (_byAge.Count > settings.Count || _bytes > settings.Bytes || first.Value.At < oldest))
            Drop(first);
    }

    private void Drop(LinkedListNode<(StoredResponse Response, DateTimeOffset At)> node)
    {
        _byAge.Remove(node);
        _byId.Remove(node.Value.Response.Reply.Id);
        _bytes -= node.Value.Response.Bytes;
    }

    private static RequestRejectedException Missing(string id, string? field)
    {
        string shown = id.Length <= 100 ? id : id[..100] + "…";
        return new(StatusCode.NotFound, "RESPONSE_NOT_FOUND", $"Response '{shown}' is not kept here: it was not stored, it was deleted, or it made room for later ones.", field, shown);
    }
}
