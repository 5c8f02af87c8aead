namespace TpServe.Checkpoint;

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
