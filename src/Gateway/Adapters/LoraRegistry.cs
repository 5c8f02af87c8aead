using Grpc.Core;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Adapters;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Adapters;

/// <summary>The adapters that are served: by name, with those who are on them.</summary>
/// <remarks>
/// An adapter's way:
/// 1. its folder is opened here, which finds most of what can be wrong with it; its files' hash goes to the workers, who compare it with theirs;
/// 2. it is in the list that workers get with every load of their shard, so that a group that starts over has it too; a running group is asked to load it;
/// 3. once every rank has, requests find it. Where one has not, it is forgotten on all;
/// 4. unloaded, no request finds it; those that are on it run to their end, through preemption and loss of workers. The step after the last of them frees it.
/// A name may be used again at once: the new adapter has another id, and shares nothing with the old one.
/// Threads  any.
/// </remarks>
public sealed class LoraRegistry(int mostLoras = LoraRegistry.DefaultMost, string folder = "")
{
    /// <summary>Adapters at once, where nothing is set.</summary>
    public const int DefaultMost = 8;

    /// <summary>Longest name.</summary>
    public const int MostNameCharacters = 256;

    private readonly Lock _gate = new();
    private readonly List<Entry> _entries = [];
    private readonly List<int> _dropped = []; // what workers may still hold
    private int _lastId;

    /// <summary>Those that requests find, in the order in which they came.</summary>
    public IReadOnlyList<ServedLora> Served
    {
        get
        {
            lock (_gate)
                return [.. _entries.Where(entry => entry.State == LoraState.Served).Select(entry => entry.Lora)];
        }
    }

    /// <summary>All of them, with how many requests are on each, and whether it leaves.</summary>
    public IReadOnlyList<(ServedLora Lora, int Requests, bool Leaving)> All
    {
        get
        {
            lock (_gate)
                return [.. _entries.Where(entry => entry.State != LoraState.Loading).Select(entry => (entry.Lora, entry.Users, entry.State == LoraState.Leaving))];
        }
    }

    /// <summary>What workers are to hold when they load: also what is being loaded, and what is left but in use.</summary>
    internal IReadOnlyList<LoraAdapter> Messages
    {
        get
        {
            lock (_gate)
                return [.. _entries.Select(entry => Message(entry.Lora))];
        }
    }

    /// <summary>The adapter that requests mean by a name; null = there is none.</summary>
    public ServedLora? Find(string name)
    {
        lock (_gate)
            return _entries.Find(entry => entry.State == LoraState.Served && entry.Lora.Name == name)?.Lora;
    }

    /// <summary>Takes in an adapter that the first load of the group brings: served as soon as anything is.</summary>
    /// <exception cref="ModelLoadException">The folder is no adapter that is served.</exception>
    public void AddAtStart(string name, string path)
    {
        string full = Path.GetFullPath(path);
        string digest = Look(full);
        lock (_gate)
            _entries.Add(new Entry(new ServedLora(++_lastId, name, full, digest), LoraState.Served));
    }

    /// <summary>Loads an adapter on every rank of a running group.</summary>
    /// <param name="name">What requests are to name it.</param>
    /// <param name="path">Its folder, absolute or below the operator's.</param>
    /// <param name="taken">Names that mean something else.</param>
    /// <param name="group">Who loads it.</param>
    /// <param name="cancellation">Nobody waits any more.</param>
    /// <exception cref="RequestRejectedException">The name is taken, the path not allowed, the folder no adapter of this model, or there are as many as may be.</exception>
    /// <exception cref="EngineUnavailableException">The group is not ready.</exception>
    public async Task<ServedLora> LoadAsync(string name, string path, IEnumerable<string> taken, IWorkerGroup group, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(group);
        RequireName(name);
        if (taken.Contains(name))
            throw Taken(name);
        string full = LoraFolder.Require(folder, path);
        string digest;
        try
        {
            digest = await Task.Run(() => Look(full), cancellation);
        }
        catch (ModelLoadException fault)
        {
            throw Invalid(fault.Message);
        }
        Entry entry = Begin(name, full, digest);
        bool loaded = false;
        try
        {
            await group.LoadLoraAsync(Message(entry.Lora), cancellation);
            loaded = true;
        }
        catch (WorkerStartException fault)
        {
            throw Invalid(fault.Message);
        }
        catch (GroupUnavailableException fault)
        {
            throw new EngineUnavailableException("GROUP_UNAVAILABLE", $"The worker group is not available: {fault.Message}");
        }
        finally
        {
            lock (_gate)
            {
                entry.State = loaded ? LoraState.Served : LoraState.Leaving;
                ForgetUnused(entry);
            }
        }
        return entry.Lora;
    }

    /// <summary>No request finds it from now on; who is on it goes on. How many are.</summary>
    /// <exception cref="RequestRejectedException">NOT_FOUND.</exception>
    public int Unload(string name)
    {
        lock (_gate)
        {
            Entry entry = _entries.Find(entry => entry.State == LoraState.Served && entry.Lora.Name == name) ?? throw NotFound(name);
            entry.State = LoraState.Leaving;
            ForgetUnused(entry);
            return entry.Users;
        }
    }

    /// <summary>One more request is on it; false where it is no longer served.</summary>
    public bool TryUse(ServedLora lora)
    {
        lock (_gate)
        {
            if (_entries.Find(entry => entry.Lora == lora) is not { State: LoraState.Served } entry)
                return false;
            entry.Users++;
            return true;
        }
    }

    /// <summary>One request less is on it.</summary>
    public void Release(ServedLora lora)
    {
        lock (_gate)
        {
            Entry entry = _entries.Find(entry => entry.Lora == lora)!;
            entry.Users--;
            ForgetUnused(entry);
        }
    }

    /// <summary>Adapters that nobody is on any more and that the workers have not been told of yet.</summary>
    public IReadOnlyList<int> TakeDropped()
    {
        lock (_gate)
        {
            if (_dropped.Count == 0)
                return [];
            int[] dropped = [.. _dropped];
            _dropped.Clear();
            return dropped;
        }
    }

    /// <summary>NOT_FOUND: no adapter of that name is served.</summary>
    public static RequestRejectedException NotFound(string name) => new(
        StatusCode.NotFound, "LORA_NOT_FOUND", $"No adapter '{(name.Length <= 100 ? name : name[..100] + "…")}' is served here.", "lora");

    private Entry Begin(string name, string path, string digest)
    {
        lock (_gate)
        {
            if (_entries.Exists(entry => entry.State != LoraState.Leaving && entry.Lora.Name == name))
                throw Taken(name);
            if (_entries.Count >= mostLoras)
                throw new RequestRejectedException(
                    StatusCode.ResourceExhausted, "TOO_MANY_LORAS", $"{_entries.Count} adapters are loaded, as many as --max-loras allows; unload one first.", "lora_name", $"{_entries.Count}", $"{mostLoras}");
            Entry entry = new(new ServedLora(++_lastId, name, path, digest), LoraState.Loading);
            _entries.Add(entry);
            return entry;
        }
    }

    /// <summary>Under the lock.</summary>
    private void ForgetUnused(Entry entry)
    {
        if (entry is { State: LoraState.Leaving, Users: 0 } && _entries.Remove(entry))
            _dropped.Add(entry.Lora.Id);
    }

    /// <summary>Opens the folder once: what is wrong with its config and its file's header is known without a worker.</summary>
    private static string Look(string path)
    {
        using AdapterCheckpoint adapter = AdapterCheckpoint.Open(path);
        return AdapterCheckpoint.DigestOf(path);
    }

    private static void RequireName(string name)
    {
        if (name.Length is 0 or > MostNameCharacters || name.Any(letter => char.IsWhiteSpace(letter) || char.IsControl(letter)))
            throw RequestRejectedException.OutOfRange("lora_name", $"{name.Length} characters", $"1 to {MostNameCharacters} printable characters without spaces");
    }

    private static LoraAdapter Message(ServedLora lora) => new() { Id = lora.Id, Path = lora.Path, Digest = lora.Digest };

    private static RequestRejectedException Taken(string name) => new(StatusCode.AlreadyExists, "LORA_NAME_IN_USE", $"'{name}' is served already.", "lora_name");

    private static RequestRejectedException Invalid(string message) => new(StatusCode.InvalidArgument, "LORA_INVALID", message, "lora_path");

    private sealed class Entry(ServedLora lora, LoraState state)
    {
        public ServedLora Lora => lora;

        public LoraState State { get; set; } = state;

        public int Users { get; set; }
    }
}
