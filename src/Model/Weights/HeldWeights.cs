using TpServe.Kernels;

namespace TpServe.Model.Weights;

/// <summary>What of a checkpoint lies on a rank's device, by the rows of tensors it was packed from; whoever disposes it frees it.</summary>
/// <remarks>
/// A rank whose share changes builds its next model out of this one: a matrix of the same rows and columns goes over as it is, others are packed from it and,
/// for what it lacks, from the file. Each of its matrices is freed as soon as the next model has what it wants of its tensors, so that never more than one
/// matrix exists twice.
/// Threads   the rank's thread.
/// </remarks>
public sealed class HeldWeights : IDisposable
{
    private readonly List<Matrix> _matrices = [];
    private readonly Dictionary<string, (DeviceBuffer Buffer, Tensor Tensor)> _vectors = [];
    private readonly List<IDisposable> _tables = [];

    /// <summary>Device bytes of the packed matrices.</summary>
    public long Bytes => _matrices.Sum(matrix => matrix.Weight.Bytes);

    /// <summary>Bytes of the file that were read for it.</summary>
    public long ReadBytes { get; internal set; }

    /// <summary>Frees all of it.</summary>
    public void Dispose()
    {
        _matrices.ForEach(matrix => matrix.Weight.Dispose());
        _matrices.Clear();
        foreach ((DeviceBuffer buffer, Tensor _) in _vectors.Values)
            buffer.Dispose();
        _vectors.Clear();
        DropTables();
    }

    /// <summary>Frees what no other model has a use for.</summary>
    internal void DropTables()
    {
        _tables.ForEach(table => table.Dispose());
        _tables.Clear();
    }

    internal void Add(PackedWeight weight, IReadOnlyList<TensorRows> parts) =>
        _matrices.Add(new Matrix(weight, [.. parts.Select(part => HeldRows.Of(part))], [.. parts.Select(part => part.Tensor.Name)]));

    internal void AddVector(string key, DeviceBuffer buffer, Tensor tensor) => _vectors.Add(key, (buffer, tensor));

    internal void AddTable(DeviceBuffer table) => _tables.Add(table);

    /// <summary>The matrix of exactly these rows and columns, which is the caller's from now on.</summary>
    internal PackedWeight? Take(IReadOnlyList<TensorRows> parts, InputLeaves leaves)
    {
        int found = _matrices.FindIndex(matrix => matrix.Parts.SequenceEqual(parts.Select(part => HeldRows.Of(part)))
            && matrix.Weight.Leaves.Boundaries.AsSpan().SequenceEqual(leaves.Boundaries) && matrix.Weight.Leaves.Merges.AsSpan().SequenceEqual(leaves.Merges));
        if (found < 0)
            return null;
        PackedWeight weight = _matrices[found].Weight;
        _matrices.RemoveAt(found);
        return weight;
    }

    /// <summary>The vector of this key, which is the caller's from now on.</summary>
    internal bool TakeVector(string key, out DeviceBuffer buffer, out Tensor tensor)
    {
        bool found = _vectors.Remove(key, out (DeviceBuffer Buffer, Tensor Tensor) vector);
        (buffer, tensor) = vector;
        return found;
    }

    /// <summary>What of these rows is here, whatever columns.</summary>
    internal IReadOnlyList<KeptRows> Find(IReadOnlyList<TensorRows> parts)
    {
        List<KeptRows> found = [];
        int target = 0;
        foreach (TensorRows part in parts)
        {
            foreach (Matrix matrix in _matrices)
            {
                int source = 0;
                foreach (HeldRows held in matrix.Parts)
                {
                    int first = Math.Max(part.FirstRow, held.First), end = Math.Min(part.FirstRow + part.Rows, held.First + held.Rows);
                    if (held.Source == part.Source && end > first)
                        found.Add(new KeptRows(matrix.Weight, source + first - held.First, target + first - part.FirstRow, end - first));
                    source += held.Outputs;
                }
            }
            target += part.Outputs;
        }
        return found;
    }

    /// <summary>The next model has what it wants of a tensor: matrices of no other are freed.</summary>
    internal void Finished(string tensor)
    {
        for (int i = _matrices.Count - 1; i >= 0; i--)
            if (_matrices[i].Awaited.Remove(tensor) && _matrices[i].Awaited.Count == 0)
            {
                _matrices[i].Weight.Dispose();
                _matrices.RemoveAt(i);
            }
    }

    private sealed record Matrix(PackedWeight Weight, HeldRows[] Parts, HashSet<string> Awaited);

    /// <summary>Rows of a tensor, as they lie one after the other in a matrix.</summary>
    private readonly record struct HeldRows(string Source, int First, int Rows, int Outputs)
    {
        public static HeldRows Of(TensorRows part) => new(part.Source, part.FirstRow, part.Rows, part.Outputs);
    }
}
