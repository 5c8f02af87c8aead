using TpServe.Checkpoint;
using TpServe.Checkpoint.Adapters;
using TpServe.Checkpoint.Config;
using TpServe.Kernels;
using TpServe.Kernels.Reference;
using TpServe.Model.Families;
using TpServe.Model.Weights;
using TpServe.Sharding;

namespace TpServe.Model.Adapters;

/// <summary>Makes one rank's part of an adapter: checks it against the base model, slices A and B as the base's matrices are sliced.</summary>
/// <remarks>
/// Every module that the config targets must be there, every tensor that is there must be of one of them, and have the shape that the base model asks for.
/// Threads  the rank's thread.
/// Errors   <see cref="ModelLoadException"/> naming folder and tensor; nothing is left allocated.
/// </remarks>
public sealed class LoraLoader
{
    private readonly AdapterCheckpoint _adapter;
    private readonly ModelConfig _config;
    private readonly ShardPlan _plan;
    private readonly ITensorBackend _ops;
    private readonly BlockTensors _names;
    private readonly List<DeviceBuffer> _owned = [];
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);

    private LoraLoader(AdapterCheckpoint adapter, ModelConfig config, ShardPlan plan, ITensorBackend ops)
    {
        (_adapter, _config, _plan, _ops) = (adapter, config, plan, ops);
        _names = FamilyRegistry.Find(config.Architecture).Tensors;
    }

    /// <summary>The rank's part of an adapter. The folder may be closed afterwards.</summary>
    /// <exception cref="ModelLoadException">It does not fit the model, or the device computes no adapters.</exception>
    public static LoraAdapter Load(AdapterCheckpoint adapter, ModelConfig config, ShardPlan plan, ITensorBackend ops)
    {
        ArgumentNullException.ThrowIfNull(adapter);
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(ops);
        if (!ops.HasLora)
            throw new ModelLoadException($"{adapter.Path}: adapters are not computed on this device ({ops.Description}).");
        LoraLoader loader = new(adapter, config, plan, ops);
        try
        {
            return loader.Build();
        }
        catch
        {
            loader._owned.ForEach(buffer => buffer.Dispose());
            throw;
        }
    }

    private LoraAdapter Build()
    {
        LoraSite?[,] sites = new LoraSite?[_config.Layers, Enum.GetValues<LoraPlace>().Length];
        for (int layer = 0; layer < _config.Layers; layer++)
        {
            if (_config.Latent is null) // latent attention's projections take no adapters either
            {
                sites[layer, (int)LoraPlace.Qkv] = _names.FusedQkv is { } qkv
                    ? Columns(layer, (qkv, [WeightRole.Query, WeightRole.Key, WeightRole.Value]))
                    : Columns(layer, (_names.Query, [WeightRole.Query]), (_names.Key, [WeightRole.Key]), (_names.Value, [WeightRole.Value]));
                sites[layer, (int)LoraPlace.AttentionOutput] = Rows(layer, _names.AttentionOutput, _config.Heads * _config.HeadDim, _plan.HeadShare);
            }
            if (_config.Experts?.IsIn(layer) == true)
                continue; // what adapters change inside experts is not served: such tensors are left over below
            sites[layer, (int)LoraPlace.GateUp] = !_config.IsMlpGated
                ? Columns(layer, (_names.Up, [WeightRole.Up]))
                : _names.FusedGateUp is { } gateUp
                ? Columns(layer, (gateUp, [WeightRole.Gate, WeightRole.Up]))
                : Columns(layer, (_names.Gate, [WeightRole.Gate]), (_names.Up, [WeightRole.Up]));
            sites[layer, (int)LoraPlace.Down] = Rows(layer, _names.Down, _config.Intermediate, _plan.DenseShare);
        }
        foreach ((string name, AdapterModule module) in _adapter.Modules)
            if (!_used.Contains(name))
                throw new ModelLoadException(
                    $"{_adapter.Path}: tensor '{(module.A ?? module.B)!.FileName}': expected no adapter on '{name}' of architecture '{_config.Architecture}': served are those on the linear layers of attention and dense MLPs that 'target_modules' names.");
        if (_used.Count == 0)
            throw new ModelLoadException($"{_adapter.Path}: 'target_modules' names no linear layer of architecture '{_config.Architecture}'.");
        return new LoraAdapter(sites, _owned);
    }

    /// <summary>Projections that share their input and are split by outputs.</summary>
    private LoraSite? Columns(int layer, params ReadOnlySpan<(string Name, WeightRole[] Roles)> projections)
    {
        List<float> a = [];
        List<LoraPart> parts = [];
        int firstOutput = 0, ranks = 0;
        foreach ((string name, WeightRole[] roles) in projections)
        {
            int outputs = roles.Sum(role => ExpectedTensors.Rows(_config, role)), localOutputs = roles.Sum(role => _plan.Slice(role).Rows);
            if (Find(layer, name, _config.Hidden, outputs) is { } found)
            {
                a.AddRange(Numbers(found.A));
                if (localOutputs > 0)
                    parts.Add(new LoraPart(ranks, Turned(Numbers(found.B), found.Rank, LocalRows(roles)), firstOutput, found.Scale));
                ranks += found.Rank;
            }
            firstOutput += localOutputs;
        }
        return ranks == 0 ? null : new LoraSite(ranks, Table([.. a], _config.Hidden), InputLeaves.Whole(_config.Hidden), parts);
    }

    /// <summary>A projection that is split by the leaves of its inputs.</summary>
    private LoraSite? Rows(int layer, string name, int inputs, LeafShare share)
    {
        if (Find(layer, name, inputs, _config.Hidden) is not { } found)
            return null;
        LoraPart part = new(0, Turned(Numbers(found.B), found.Rank, [(0, _config.Hidden)]), 0, found.Scale);
        if (share.Count == 0)
            return new LoraSite(found.Rank, null, null, [part]);
        float[] whole = Numbers(found.A), own = new float[found.Rank * share.Columns];
        for (int rank = 0; rank < found.Rank; rank++)
            whole.AsSpan((rank * inputs) + share.Boundaries[0], share.Columns).CopyTo(own.AsSpan(rank * share.Columns));
        return new LoraSite(found.Rank, Table(own, share.Columns), new InputLeaves(share.Boundaries, share.Merges), [part]);
    }

    /// <summary>The matrices of a module, checked; null where the adapter leaves it alone.</summary>
    private (TensorInfo A, TensorInfo B, int Rank, float Scale)? Find(int layer, string name, int inputs, int outputs)
    {
        string module = ExpectedTensors.Block(layer) + name;
        if (!_adapter.Config.Targets(module, layer))
            return null;
        AdapterModule found = _adapter.Modules.GetValueOrDefault(module) ?? new AdapterModule(null, null);
        int rank = _adapter.Config.RankOf(module);
        _used.Add(module);
        return (Checked(found.A, "A", rank, inputs), Checked(found.B, "B", outputs, rank), rank, _adapter.Config.ScaleOf(module));

        TensorInfo Checked(TensorInfo? tensor, string matrix, int rows, int columns)
        {
            if (tensor is null)
                throw new ModelLoadException($"{_adapter.Path}: tensor 'base_model.model.{module}.lora_{matrix}.weight': expected [{rows}, {columns}], found no such tensor.");
            if (tensor.Shape[0] != rows || tensor.Shape[1] != columns)
                throw new ModelLoadException($"{_adapter.Path}: tensor '{tensor.FileName}': expected [{rows}, {columns}], found [{tensor.Shape[0]}, {tensor.Shape[1]}].");
            return tensor;
        }
    }

    private float[] Numbers(TensorInfo tensor)
    {
        float[] values = new float[tensor.ByteCount / tensor.Type.BlockBytes()];
        Dequantize.Row(TensorRows.FormatOf(tensor), _adapter.Bytes(tensor), values);
        return values.All(float.IsFinite) ? values : throw new ModelLoadException($"{_adapter.Path}: tensor '{tensor.FileName}' holds numbers that are not finite.");
    }

    /// <summary>Ranges of rows of a matrix that are this rank's.</summary>
    private (int First, int Count)[] LocalRows(WeightRole[] roles)
    {
        List<(int, int)> ranges = [];
        int below = 0; // rows of the matrix that belong to the roles before
        foreach (WeightRole role in roles)
        {
            WeightSlice slice = _plan.Slice(role);
            ranges.Add((below + slice.FirstRow, slice.Rows));
            below += ExpectedTensors.Rows(_config, role);
        }
        return [.. ranges];
    }

    /// <summary>Some rows of B [outputs, rank], as columns.</summary>
    private Tensor Turned(float[] b, int ranks, (int First, int Count)[] rows)
    {
        int outputs = rows.Sum(range => range.Count), output = 0;
        float[] turned = new float[ranks * outputs];
        foreach ((int first, int count) in rows)
            for (int row = first; row < first + count; row++, output++)
                for (int rank = 0; rank < ranks; rank++)
                    turned[(rank * outputs) + output] = b[(row * ranks) + rank];
        return Table(turned, outputs);
    }

    private Tensor Table(float[] values, int columns)
    {
        DeviceBuffer buffer = _ops.Allocate(sizeof(float) * (long)values.Length);
        _owned.Add(buffer);
        Tensor table = new(buffer, 0, values.Length / columns, columns, columns, ElementType.Float32);
        _ops.Upload<float>(values, table);
        return table;
    }
}
