using TpServe.Checkpoint;
using TpServe.Checkpoint.Adapters;
using TpServe.Checkpoint.Config;
using TpServe.Kernels;
using TpServe.Model.Adapters;
using TpServe.Sharding;

namespace TpServe.Worker;

/// <summary>The adapters that a rank holds, by the ids that plans name them by.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
internal sealed class LoadedLoras(ModelConfig config, ShardPlan plan, ITensorBackend ops) : IDisposable
{
    private readonly Dictionary<int, LoraAdapter> _held = [];

    /// <summary>The adapter of an id; null = it is not here.</summary>
    public LoraAdapter? Find(int id) => _held.GetValueOrDefault(id);

    /// <summary>Loads one; nothing where it is here already.</summary>
    /// <exception cref="ModelLoadException">It cannot be loaded, or is another one here.</exception>
    public void Load(Protos.Worker.LoraAdapter wanted)
    {
        if (_held.ContainsKey(wanted.Id))
            return;
        using AdapterCheckpoint adapter = AdapterCheckpoint.Open(wanted.Path);
        if (AdapterCheckpoint.DigestOf(wanted.Path) != wanted.Digest)
            throw new ModelLoadException($"{wanted.Path} is another adapter here than the gateway has, or was changed since it was loaded.");
        _held.Add(wanted.Id, LoraLoader.Load(adapter, config, plan, ops));
    }

    /// <summary>Frees one; no step is computed with it any more.</summary>
    public void Drop(int id)
    {
        if (_held.Remove(id, out LoraAdapter? adapter))
            adapter.Dispose();
    }

    /// <summary>Holds these and no others, while no steps run.</summary>
    /// <exception cref="ModelLoadException">As <see cref="Load"/>; those before it are here then.</exception>
    public void Become(IReadOnlyList<Protos.Worker.LoraAdapter> wanted)
    {
        foreach (int id in _held.Keys.Except(wanted.Select(adapter => adapter.Id)).ToArray())
            Drop(id);
        foreach (Protos.Worker.LoraAdapter adapter in wanted)
            Load(adapter);
    }

    public void Dispose() => Become([]);
}
