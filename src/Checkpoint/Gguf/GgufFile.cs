namespace TpServe.Checkpoint.Gguf;

/// <summary>One GGUF file: header read and checked, tensors located.</summary>
/// <remarks>
/// Source  the GGUF specification of ggml, versions 2 and 3.
/// Errors  <see cref="ModelLoadException"/> for anything that does not hold, truncation included, before anything large is allocated.
/// </remarks>
internal sealed class GgufFile
{
    private const uint Magic = 0x46554747; // "GGUF"
    private const int DefaultAlignment = 32, MaxAlignment = 1 << 20;
    private const int MaxKeys = 1 << 16, MaxTensors = 1 << 20, MaxKeyBytes = 65535, MaxTensorNameBytes = 1024, MaxDims = 4;
    private const int LeastKeyBytes = 8 + 1 + 4 + 1, LeastTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

    private GgufFile(GgufMetadata metadata, IReadOnlyList<GgufTensor> tensors)
    {
        Metadata = metadata;
        Tensors = tensors;
    }

    public GgufMetadata Metadata { get; }

    public IReadOnlyList<GgufTensor> Tensors { get; }

    public static GgufFile Read(MappedFile file)
    {
        // 1. Preamble.
        GgufCursor cursor = new(file);
        uint magic = cursor.UInt32("the magic number");
        if (magic != Magic)
            throw new ModelLoadException($"{file.Path}: not a GGUF file: it begins with 0x{magic:X8}, not with 'GGUF'.");
        uint version = cursor.UInt32("the version");
        if (version is not (2 or 3))
        {
            string order = (version & 0xFFFF) == 0 ? " (a big-endian file?)" : "";
            throw new ModelLoadException($"{file.Path}: GGUF version {version}{order}; versions 2 and 3 are read.");
        }
        int tensorCount = cursor.Count("the number of tensors", LeastTensorBytes, MaxTensors);
        int keyCount = cursor.Count("the number of metadata keys", LeastKeyBytes, MaxKeys);

        // 2. Metadata.
        GgufMetadata metadata = new(file);
        for (int i = 0; i < keyCount; i++)
        {
            string key = cursor.Name($"the name of metadata key {i}", MaxKeyBytes);
            metadata.Add(key, cursor.Value(key));
        }
        int alignment = metadata.Int("general.alignment", 1, MaxAlignment) ?? DefaultAlignment;
        if (!int.IsPow2(alignment))
            throw new ModelLoadException($"{file.Path}: 'general.alignment' is {alignment}; it must be a power of two.");

        // 3. Tensors: the data begins at the first aligned byte after the header.
        List<GgufTensor> tensors = [];
        HashSet<string> names = new(StringComparer.Ordinal);
        for (int i = 0; i < tensorCount; i++)
        {
            GgufTensor tensor = ReadTensor(cursor, file.Path, i);
            if (!names.Add(tensor.Name))
                throw new ModelLoadException($"{file.Path}: tensor '{tensor.Name}' is there twice.");
            tensors.Add(tensor);
        }
        long dataStart = (cursor.Position + alignment - 1) / alignment * alignment;
        for (int i = 0; i < tensors.Count; i++)
            tensors[i] = Locate(tensors[i], file, dataStart, alignment);
        return new GgufFile(metadata, tensors);
    }

    private static GgufTensor ReadTensor(GgufCursor cursor, string path, int index)
    {
        string name = cursor.Name($"the name of tensor {index}", MaxTensorNameBytes);
        uint dims = cursor.UInt32($"the number of dimensions of tensor '{name}'");
        if (dims is 0 or > MaxDims)
            throw new ModelLoadException($"{path}: tensor '{name}' has {dims} dimensions; 1 to {MaxDims} are allowed.");
        int[] shape = new int[dims];
        long elements = 1;
        for (int d = 0; d < dims; d++)
        {
            ulong extent = cursor.UInt64($"dimension {d} of tensor '{name}'");
            if (extent is 0 or > int.MaxValue)
                throw new ModelLoadException($"{path}: dimension {d} of tensor '{name}' is {extent}; 1 to {int.MaxValue} are allowed.");
            if (elements > long.MaxValue / 4 / (long)extent) // no type takes more than 4 bytes an element
                throw new ModelLoadException($"{path}: tensor '{name}' has too many elements: the product of its dimensions overflows.");
            elements *= (long)extent;
            shape[dims - 1 - d] = (int)extent; // GGUF writes the innermost dimension first
        }
        uint type = cursor.UInt32($"the type of tensor '{name}'");
        ulong offset = cursor.UInt64($"the offset of tensor '{name}'");
        GgufTensor tensor = new(name, type, shape, elements, offset, 0);
        if (tensor.Type is { } known && shape[^1] % known.BlockElements() != 0)
            throw new ModelLoadException($"{path}: rows of tensor '{name}' have {shape[^1]} elements, not a multiple of {known.BlockElements()} as {known} needs.");
        return tensor;
    }

    private static GgufTensor Locate(GgufTensor tensor, MappedFile file, long dataStart, int alignment)
    {
        if (tensor.Offset % (ulong)alignment != 0)
            throw new ModelLoadException($"{file.Path}: tensor '{tensor.Name}' has offset {tensor.Offset}, not a multiple of the alignment {alignment}.");
        long available = Math.Max(0, file.Length - dataStart);
        long bytes = tensor.Type is { } type ? tensor.Elements / type.BlockElements() * type.BlockBytes() : 0;
        if (tensor.Offset > (ulong)available || bytes > available - (long)tensor.Offset)
        {
            throw new ModelLoadException(
                $"{file.Path}: tensor '{tensor.Name}' takes {bytes} bytes from {tensor.Offset} of the data, but the file has {available} bytes of data: it is truncated or damaged.");
        }
        return tensor with { Start = dataStart + (long)tensor.Offset };
    }
}
