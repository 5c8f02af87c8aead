using System.Buffers.Binary;
using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Safetensors;

/// <summary>The header of one safetensors file: 8 bytes of length, JSON, data.</summary>
/// <remarks>
/// Source  the safetensors format description: offsets are relative to the data, tensors fill it without holes or overlaps.
/// Errors  <see cref="ModelLoadException"/> naming file and tensor for anything that does not hold.
/// </remarks>
internal static class SafetensorsFile
{
    private const long MaxHeaderBytes = 100_000_000; // the reference implementation's limit
    private const int MaxDims = 8;

    /// <summary>Reads all tensors; rename gives the name to file it under, null leaves it out.</summary>
    public static List<TensorPlace> Read(MappedFile file, Func<string, string?> rename)
    {
        // 1. The header's length.
        if (file.Length < 8)
            throw new ModelLoadException($"{file.Path}: the file has {file.Length} bytes; a safetensors file has at least 8: it is truncated.");
        ulong headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(file.Span(0, 8));
        if (headerBytes > (ulong)(file.Length - 8))
            throw new ModelLoadException($"{file.Path}: the header is said to have {headerBytes} bytes, but {file.Length - 8} remain: the file is truncated or damaged.");
        if (headerBytes > MaxHeaderBytes)
            throw new ModelLoadException($"{file.Path}: the header has {headerBytes} bytes; the limit is {MaxHeaderBytes}.");

        // 2. Every tensor by itself.
        long dataStart = 8 + (long)headerBytes, dataBytes = file.Length - dataStart;
        JsonSection header = JsonSection.Parse(file.Span(8, (int)headerBytes).ToArray(), file.Path, allowDuplicates: false);
        List<TensorPlace> all = [], wanted = [];
        foreach ((string name, JsonSection entry) in header.ObjectMembers())
        {
            if (name == "__metadata__")
                continue;
            string? newName = rename(name);
            TensorPlace place = ReadTensor(entry, file, name, newName ?? name, dataStart, dataBytes);
            all.Add(place);
            if (newName is not null)
                wanted.Add(place);
        }

        // 3. Together.
        TensorPlace.CheckOverlaps(all);
        long used = all.Sum(place => place.Tensor.ByteCount);
        if (used != dataBytes)
            throw new ModelLoadException($"{file.Path}: the tensors take {used} bytes, but the file has {dataBytes} bytes of data.");
        return wanted;
    }

    private static TensorPlace ReadTensor(JsonSection json, MappedFile file, string name, string newName, long dataStart, long dataBytes)
    {
        string dtype = json.String("dtype") ?? throw json.Missing("dtype");
        TensorType type = dtype switch
        {
            "F32" => TensorType.F32,
            "F16" => TensorType.F16,
            "BF16" => TensorType.BF16,
            // What quantised matrices are made of. Those that nothing takes up are no weights.
            "U8" => TensorType.U8,
            "I8" => TensorType.I8,
            "I32" => TensorType.I32,
            "I64" => TensorType.I64,
            "F8_E4M3" => TensorType.F8_E4M3,
            _ => throw new ModelLoadException($"{file.Path}: tensor '{name}' has type {dtype}; supported in safetensors files are F32, F16, BF16, and F8_E4M3, U8, I8, I32, I64 for quantised weights."),
        };
        IReadOnlyList<int> shape = json.Ints("shape", 0, int.MaxValue) ?? throw json.Missing("shape");
        if (shape.Count > MaxDims)
            throw json.Fault("shape", $"has {shape.Count} dimensions; the limit is {MaxDims}");
        long elements = 1;
        foreach (int extent in shape)
        {
            if (extent != 0 && elements > long.MaxValue / 8 / extent)
                throw json.Fault("shape", "has a product that overflows");
            elements *= extent;
        }
        IReadOnlyList<long> offsets = json.Longs("data_offsets", 0, dataBytes) ?? throw json.Missing("data_offsets");
        long bytes = elements * type.BlockBytes();
        if (offsets.Count != 2 || offsets[1] - offsets[0] != bytes)
            throw json.Fault("data_offsets", $"is [{string.Join(", ", offsets)}], but {type} [{string.Join(", ", shape)}] takes {bytes} bytes");
        return new TensorPlace(new TensorInfo(newName, type, shape, RowOrder.Plain) { FileName = name }, file, dataStart + offsets[0]);
    }
}
