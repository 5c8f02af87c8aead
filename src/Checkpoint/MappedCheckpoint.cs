using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint;

/// <summary>A checkpoint of either kind of file: the facts that its reader found, and its tensors' mapped bytes.</summary>
internal sealed class MappedCheckpoint(
    string path, string name, TensorTable table, ModelConfig config, GenerationDefaults generation, TokenizerFiles? tokenizer, PoolingConfig? pooling = null,
    IReadOnlyList<string>? warnings = null) : ModelCheckpoint
{
    /// <inheritdoc/>
    public override string Path => path;

    /// <inheritdoc/>
    public override string Name => name;

    /// <inheritdoc/>
    public override ModelConfig Config => config;

    /// <inheritdoc/>
    public override GenerationDefaults Generation => generation;

    /// <inheritdoc/>
    public override PoolingConfig Pooling => pooling ?? PoolingConfig.Default;

    /// <inheritdoc/>
    public override TokenizerFiles Tokenizer => tokenizer ?? throw new InvalidOperationException($"{path} was opened for its weights alone.");

    /// <inheritdoc/>
    public override IReadOnlyList<string> Warnings => warnings ?? [];

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, TensorInfo> Tensors => table.Tensors;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Bytes(TensorInfo tensor) => table.Bytes(tensor);

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Bytes(TensorInfo tensor, long start, int count) => table.Bytes(tensor, start, count);

    /// <inheritdoc/>
    public override void Drop(TensorInfo tensor) => table.Drop(tensor);

    /// <inheritdoc/>
    public override void Drop(TensorInfo tensor, long start, int count) => table.Drop(tensor, start, count);

    /// <inheritdoc/>
    public override void Expect(TensorInfo tensor, long start, long count) => table.Expect(tensor, start, count);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
            table.Dispose();
    }
}

/// <summary>The tensors of all files of a checkpoint by name; owns the files.</summary>
internal sealed class TensorTable : IDisposable
{
    private readonly Dictionary<string, TensorPlace> _places = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TensorInfo> _tensors = new(StringComparer.Ordinal);
    private readonly List<MappedFile> _files = [];

    public IReadOnlyDictionary<string, TensorInfo> Tensors => _tensors;

    /// <summary>Takes over a file; it is closed with the table.</summary>
    public MappedFile Own(MappedFile file)
    {
        _files.Add(file);
        return file;
    }

    public void Add(TensorPlace place)
    {
        if (!_places.TryAdd(place.Tensor.Name, place))
        {
            TensorPlace other = _places[place.Tensor.Name];
            throw new ModelLoadException(
                $"{place.File.Path}: tensor '{place.Tensor.FileName}' is there twice ('{other.Tensor.FileName}' in {other.File.Path} has the same name).");
        }
        _tensors.Add(place.Tensor.Name, place.Tensor);
    }

    /// <summary>Lists a matrix in the place of the tensors that hold it, whose bytes stay readable.</summary>
    public void Assemble(TensorInfo matrix)
    {
        foreach (TensorInfo part in matrix.Storage!.Parts)
            _tensors.Remove(part.Name);
        if (!_tensors.TryAdd(matrix.Name, matrix))
            throw new ModelLoadException($"{_places[matrix.Storage.Codes.Name].File.Path}: tensor '{matrix.Name}' is there twice: by itself, and in '{matrix.Storage.Codes.FileName}'.");
    }

    /// <summary>Leaves a tensor out.</summary>
    public void Ignore(TensorInfo tensor) => _tensors.Remove(tensor.Name);

    /// <summary>Lists a tensor under another name, and with another order of its rows.</summary>
    public void Rename(TensorInfo tensor, string name, RowOrder order = RowOrder.Plain)
    {
        TensorPlace place = Find(tensor);
        _tensors.Remove(tensor.Name);
        _places.Remove(tensor.Name);
        Add(place with { Tensor = place.Tensor with { Name = name, FileName = tensor.FileName, RowOrder = order } });
    }

    public ReadOnlySpan<byte> Bytes(TensorInfo tensor)
    {
        TensorPlace place = Find(tensor);
        long count = place.Tensor.ByteCount;
        if (count > int.MaxValue)
            throw new ModelLoadException($"{place.File.Path}: tensor '{tensor.FileName}' has {count} bytes; more than {int.MaxValue} can only be read in parts.");
        return place.File.Span(place.Offset, (int)count);
    }

    public ReadOnlySpan<byte> Bytes(TensorInfo tensor, long start, int count)
    {
        TensorPlace place = Find(tensor);
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, place.Tensor.ByteCount - count);
        return place.File.Span(place.Offset + start, count);
    }

    public void Drop(TensorInfo tensor)
    {
        if (tensor.Storage is { } storage)
        {
            foreach (TensorInfo part in storage.Parts)
                Drop(part);
            return;
        }
        TensorPlace place = Find(tensor);
        place.File.Drop(place.Offset, place.Tensor.ByteCount);
    }

    /// <summary>As <see cref="Drop(TensorInfo)"/>, of part of a tensor's bytes.</summary>
    public void Drop(TensorInfo tensor, long start, int count)
    {
        TensorPlace place = Find(tensor);
        place.File.Drop(place.Offset + start, count);
    }

    /// <summary>Has the system read part of a tensor's bytes ahead.</summary>
    public void Expect(TensorInfo tensor, long start, long count)
    {
        TensorPlace place = Find(tensor);
        place.File.Expect(place.Offset + start, count);
    }

    public void Dispose() => _files.ForEach(file => file.Dispose());

    private TensorPlace Find(TensorInfo tensor) => _places.TryGetValue(tensor.Name, out TensorPlace place)
        ? place
        : throw new ArgumentException($"Tensor '{tensor.Name}' is not of this checkpoint.", nameof(tensor));
}

/// <summary>Where a tensor's bytes lie.</summary>
internal readonly record struct TensorPlace(TensorInfo Tensor, MappedFile File, long Offset)
{
    public long End => Offset + Tensor.ByteCount;

    /// <summary>Fails where two tensors of one file share bytes.</summary>
    public static void CheckOverlaps(IEnumerable<TensorPlace> places)
    {
        TensorPlace? last = null;
        foreach (TensorPlace place in places.OrderBy(p => p.Offset).ThenBy(p => p.End))
        {
            if (last is { } before && place.Offset < before.End)
            {
                throw new ModelLoadException(
                    $"{place.File.Path}: tensors '{before.Tensor.FileName}' and '{place.Tensor.FileName}' overlap: the first ends at byte {before.End}, the second begins at byte {place.Offset}.");
            }
            last = place;
        }
    }
}
