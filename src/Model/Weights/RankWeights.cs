using System.Globalization;
using System.Text;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Model.Weights;

/// <summary>Brings this rank's slices of a checkpoint onto the device, from the file or from what the rank holds already, and counts the bytes.</summary>
/// <remarks>Errors   <see cref="ModelLoadException"/> naming the tensor. What was allocated until then is in <see cref="Owned"/>.</remarks>
/// <param name="checkpoint">The opened model.</param>
/// <param name="plan">What this rank owns.</param>
/// <param name="ops">Its device.</param>
/// <param name="expected">The model's tensors.</param>
/// <param name="before">What the rank holds of the same checkpoint on the same device, which is taken apart; null = nothing.</param>
/// <param name="progress">Told the bytes done, and all.</param>
internal sealed class RankWeights(
    ModelCheckpoint checkpoint, ShardPlan plan, ITensorBackend ops, IReadOnlyList<ExpectedTensor> expected, HeldWeights? before, Action<long, long>? progress)
{
    private readonly ModelConfig _config = checkpoint.Config;
    private readonly Dictionary<string, ExpectedTensor> _expected = expected.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
    private readonly long _totalBytes = expected.Sum(tensor => BytesOfRank(checkpoint, plan, tensor));
    private long _doneBytes;

    /// <summary>Device memory allocated or taken over so far.</summary>
    public HeldWeights Owned { get; } = new();

    /// <summary>One matrix split by rows (embedding, head); null where this rank owns none.</summary>
    public PackedWeight? Rows(string name, WeightRole role)
    {
        WeightSlice slice = plan.Slice(role);
        return slice.Rows == 0 ? null : Pack([Slice(name, slice.FirstRow, slice.Rows)], InputLeaves.Whole(slice.Columns), [name]);
    }

    /// <summary>The first row of a matrix.</summary>
    public PackedWeight FirstRow(string name) => Pack([Slice(name, 0, 1)], InputLeaves.Whole(Info(name).Shape[1]), [name]);

    /// <summary>This rank's outputs of projections that share their input; neighbours of one format become one packed matrix.</summary>
    public PackedWeight[] Columns(params ReadOnlySpan<(string Name, WeightRole[] Roles)> projections)
    {
        List<TensorRows> parts = [];
        foreach ((string name, WeightRole[] roles) in projections)
        {
            int below = 0; // rows of the matrix that belong to the roles before
            foreach (WeightRole role in roles)
            {
                WeightSlice slice = plan.Slice(role);
                if (slice.Rows > 0)
                    parts.Add(Slice(name, below + slice.FirstRow, slice.Rows));
                below += ExpectedTensors.Rows(_config, role);
            }
        }

        List<PackedWeight> packed = [];
        for (int first = 0, end; first < parts.Count; first = end)
        {
            end = first + 1;
            while (end < parts.Count && parts[end].Format == parts[first].Format)
                end++;
            List<TensorRows> run = parts.GetRange(first, end - first);
            // A fused tensor is counted and dropped with the last run that reads it.
            string[] finished = [.. run.Select(part => part.Tensor.Name).Distinct().Where(name => !parts.Skip(end).Any(later => later.Tensor.Name == name))];
            packed.Add(Pack(run, InputLeaves.Whole(run[0].FileColumns), finished));
        }
        return [.. packed];
    }

    /// <summary>This rank's inputs of a row-parallel projection; null where it owns no leaf.</summary>
    public PackedWeight? Leaves(string name, LeafShare share)
    {
        if (share.Count == 0)
            return null;
        return Pack([Slice(name, 0, Info(name).Shape[0])], new InputLeaves(share.Boundaries, share.Merges), [name]);
    }

    /// <summary>Experts' matrices one below the other.</summary>
    /// <param name="parts">One an expert.</param>
    /// <param name="leaves">Their inputs.</param>
    /// <param name="finished">Tensors that nothing else is read of.</param>
    public PackedWeight Experts(IReadOnlyList<ExpertRows> parts, InputLeaves leaves, IEnumerable<string> finished) => Pack(parts, leaves, finished);

    /// <summary>Rows of matrices that share their input.</summary>
    /// <param name="parts">One below the other, of one format.</param>
    /// <param name="finished">Tensors that nothing else is read of.</param>
    public PackedWeight Packed(IReadOnlyList<TensorRows> parts, IEnumerable<string> finished) => Pack(parts, InputLeaves.Whole(parts[0].FileColumns), finished);

    /// <summary>Whole matrices in float32, one below the other.</summary>
    public PackedWeight Widened(params string[] names)
    {
        WidenedRows[] parts = [.. names.Select(name => new WidenedRows(checkpoint, Whole(name)))];
        return Pack(parts, InputLeaves.Whole(parts[0].FileColumns), names);
    }

    /// <summary>All numbers of a tensor, for what is made of them on the host.</summary>
    public float[] Numbers(string name)
    {
        TensorInfo tensor = Info(name);
        float[] values = VectorReader.Read(checkpoint, tensor);
        Owned.ReadBytes += tensor.ByteCount;
        Done(name);
        return values;
    }

    /// <summary>A tensor whose rows are whole blocks of its type.</summary>
    /// <exception cref="ModelLoadException">They are not.</exception>
    public TensorInfo Whole(string name)
    {
        TensorInfo tensor = Info(name);
        if (!tensor.Type.IsWeight())
            throw new ModelLoadException($"{checkpoint.Path}: tensor '{tensor.FileName}': expected a matrix of weights, found {tensor.Type}.");
        int block = tensor.Type.BlockElements();
        return tensor.Shape[^1] % block == 0
            ? tensor
            : throw new ModelLoadException(
                $"{checkpoint.Path}: tensor '{tensor.FileName}': expected rows of whole {tensor.Type} blocks of {block}, found rows of {tensor.Shape[^1]}.");
    }

    /// <summary>A whole vector [1, length], plus <paramref name="offset"/>.</summary>
    public Tensor Vector(string name, float offset = 0f) => Vector([(name, [WeightRole.Replicated])], offset);

    /// <summary>This rank's elements of vectors that lie along the outputs of projections, side by side; null where it has none.</summary>
    public Tensor? OutputVector(params ReadOnlySpan<(string Name, WeightRole[] Roles)> vectors)
    {
        int length = 0;
        foreach ((string _, WeightRole[] roles) in vectors)
            length += roles.Sum(role => plan.Slice(role).Rows);
        return length == 0 ? null : Vector(vectors, 0f);
    }

    /// <summary>A host table on the device, [rows, columns].</summary>
    public Tensor Table(ReadOnlySpan<float> values, int columns)
    {
        DeviceBuffer buffer = ops.Allocate(sizeof(float) * (long)values.Length);
        Owned.AddTable(buffer);
        return Filled(buffer, values, columns);
    }

    private Tensor Filled(DeviceBuffer buffer, ReadOnlySpan<float> values, int columns)
    {
        Tensor table = new(buffer, 0, values.Length / columns, columns, columns, ElementType.Float32);
        ops.Upload(values, table);
        return table;
    }

    private Tensor Vector(ReadOnlySpan<(string Name, WeightRole[] Roles)> vectors, float offset)
    {
        StringBuilder text = new();
        foreach ((string name, WeightRole[] roles) in vectors)
            foreach (WeightRole role in roles)
                text.Append(CultureInfo.InvariantCulture, $"{name} {(role == WeightRole.Replicated ? default : plan.Slice(role))} ");
        string key = text.Append(offset.ToString(CultureInfo.InvariantCulture)).ToString();
        Tensor tensor = default;
        if (before?.TakeVector(key, out DeviceBuffer? buffer, out tensor) != true)
        {
            float[] values = Read(vectors, offset);
            buffer = ops.Allocate(sizeof(float) * (long)values.Length);
            tensor = Filled(buffer, values, values.Length);
        }
        Owned.AddVector(key, buffer!, tensor);
        foreach ((string name, WeightRole[] _) in vectors)
            Done(name);
        return tensor;
    }

    private float[] Read(ReadOnlySpan<(string Name, WeightRole[] Roles)> vectors, float offset)
    {
        List<float> values = [];
        foreach ((string name, WeightRole[] roles) in vectors)
        {
            TensorInfo tensor = Info(name);
            int below = 0;
            foreach (WeightRole role in roles)
            {
                if (role == WeightRole.Replicated)
                {
                    values.AddRange(VectorReader.Read(checkpoint, tensor, 0, tensor.Shape[0], _config.HeadDim));
                    continue;
                }
                WeightSlice slice = plan.Slice(role);
                values.AddRange(VectorReader.Read(checkpoint, tensor, below + slice.FirstRow, slice.Rows, _config.HeadDim));
                below += ExpectedTensors.Rows(_config, role);
            }
            Owned.ReadBytes += tensor.ByteCount; // a vector's file bytes are read whole, whatever is wanted of them
        }
        float[] array = [.. values];
        if (offset != 0f)
            for (int i = 0; i < array.Length; i++)
                array[i] += offset;
        return array;
    }

    private PackedWeight Pack(IReadOnlyList<TensorRows> parts, InputLeaves leaves, IEnumerable<string> finished)
    {
        PackedWeight? weight = before?.Take(parts, leaves);
        if (weight is null)
        {
            foreach (TensorRows part in parts)
                part.Expect();
            weight = ops.PackWeight(parts.Count == 1 ? parts[0] : new ConcatenatedRows(parts), leaves, before?.Find(parts) ?? [], out long read);
            Owned.ReadBytes += read;
        }
        Owned.Add(weight, parts);
        foreach (string name in finished)
            Done(name);
        return weight;
    }

    private TensorRows Slice(string name, int firstRow, int rows) => TensorRows.Of(checkpoint, Whole(name), firstRow, rows, _config.HeadDim);

    private void Done(string name)
    {
        TensorInfo tensor = Info(name);
        checkpoint.Drop(tensor);
        before?.Finished(name);
        _doneBytes += BytesOfRank(checkpoint, plan, _expected[name]);
        progress?.Invoke(Math.Min(_doneBytes, _totalBytes), _totalBytes);
    }

    private TensorInfo Info(string name) => checkpoint.Tensors[name];

    private static long BytesOfRank(ModelCheckpoint checkpoint, ShardPlan plan, ExpectedTensor tensor)
    {
        long whole = checkpoint.Tensors[tensor.Name].ByteCount;
        if (tensor.Roles[0] == WeightRole.Replicated)
            return whole;
        if (tensor.Roles[0] == WeightRole.LatentHeads)
            return whole * plan.LocalHeads / checkpoint.Config.Heads;
        long elements = tensor.Shape.Aggregate(1L, (product, length) => product * length);
        long owned = tensor.Shape.Count == 1
            ? tensor.Roles.Sum(role => (long)plan.Slice(role).Rows)
            : tensor.Roles.Sum(role => plan.Slice(role).Elements) * (tensor.Shape.Count == 3 ? tensor.Shape[0] : 1);
        return (long)((double)whole * owned / elements);
    }
}
