namespace TpServe.Checkpoint;

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
        TensorPlace place = Find(tensor);
        place.File.Drop(place.Offset, place.Tensor.ByteCount);
    }

    public void Dispose() => _files.ForEach(file => file.Dispose());

    private TensorPlace Find(TensorInfo tensor) => _places.TryGetValue(tensor.Name, out TensorPlace place)
        ? place
        : throw new ArgumentException($"Tensor '{tensor.Name}' is not of this checkpoint.", nameof(tensor));
}
