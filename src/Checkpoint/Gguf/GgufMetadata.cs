using System.Buffers.Binary;
using System.Text;

namespace TpServe.Checkpoint.Gguf;

/// <summary>The key-value pairs of a GGUF header, decoded and range-checked on request.</summary>
/// <remarks>
/// Errors  <see cref="ModelLoadException"/> naming file, key, what was expected and what was found. A missing key is null (or the default given).
/// </remarks>
internal sealed class GgufMetadata(MappedFile file)
{
    private readonly Dictionary<string, GgufValue> _values = new(StringComparer.Ordinal);

    public string Path => file.Path;

    public void Add(string key, GgufValue value)
    {
        if (!_values.TryAdd(key, value))
            throw new ModelLoadException($"{Path}: metadata key '{key}' is there twice.");
    }

    public bool Has(string key) => _values.ContainsKey(key);

    public string? String(string key) => _values.TryGetValue(key, out GgufValue value)
        ? Text(new GgufCursor(file, Expect(key, value, GgufType.String).Offset), key)
        : null;

    public bool? Bool(string key) => _values.TryGetValue(key, out GgufValue value)
        ? file.Span(Expect(key, value, GgufType.Bool).Offset, 1)[0] != 0
        : null;

    /// <summary>An integer within limits. An array counts as its one value where all its elements agree (some files give one for each layer).</summary>
    public int? Int(string key, int least, int most)
    {
        if (!_values.TryGetValue(key, out GgufValue value))
            return null;
        if (value.Type is not GgufType.Array)
            return InRange(key, Integer(key, value, 0), least, most);
        if (value.Count == 0)
            throw Wrong(key, value, "an integer");
        Int128 first = Integer(key, value, 0);
        for (int i = 1; i < value.Count; i++)
        {
            if (Integer(key, value, i) != first)
                throw new ModelLoadException($"{Path}: '{key}' differs between layers ({first} and {Integer(key, value, i)}); TpServe needs one value for all.");
        }
        return InRange(key, first, least, most);
    }

    /// <summary>Elements of an array; 0 where there is none.</summary>
    public int Count(string key) => _values.TryGetValue(key, out GgufValue value) && value.Type is GgufType.Array ? value.Count : 0;

    /// <summary>An index below a limit; null where the key is missing, or holds what no index is: −1 and numbers beyond stand for "none" in many files.</summary>
    public int? Index(string key, int limit, List<string>? warnings = null)
    {
        if (!_values.TryGetValue(key, out GgufValue value))
            return null;
        if (value.Type is GgufType.Array)
            throw Wrong(key, value, "an integer");
        Int128 number = Integer(key, value, 0);
        if (number >= 0 && number < limit)
            return (int)number;
        warnings?.Add($"'{key}' is {(number == uint.MaxValue ? -1 : number)}, not one of the {limit} tokens: there is none.");
        return null;
    }

    public int RequiredInt(string key, int least, int most) => Int(key, least, most) ?? throw Missing(key);

    /// <summary>A finite number within limits.</summary>
    public float? Float(string key, double least, double most)
    {
        if (!_values.TryGetValue(key, out GgufValue value))
            return null;
        if (value.Type is GgufType.Array)
            throw Wrong(key, value, "a number");
        double number = Number(key, value, 0);
        return number >= least && number <= most
            ? (float)number
            : throw new ModelLoadException($"{Path}: '{key}' is {number}; it must be a number from {least} to {most}.");
    }

    public float RequiredFloat(string key, double least, double most) => Float(key, least, most) ?? throw Missing(key);

    public IReadOnlyList<string> Strings(string key)
    {
        if (!_values.TryGetValue(key, out GgufValue value))
            return [];
        ExpectArray(key, value, value.Element is GgufType.String, "strings");
        GgufCursor cursor = new(file, value.Offset);
        string[] texts = new string[value.Count]; // each element has been seen in the file
        for (int i = 0; i < texts.Length; i++)
            texts[i] = Text(cursor, key);
        return texts;
    }

    public IReadOnlyList<int> Ints(string key, int least, int most)
    {
        if (!_values.TryGetValue(key, out GgufValue value))
            return [];
        ExpectArray(key, value, IsInteger(value.Element), "integers");
        int[] numbers = new int[value.Count];
        for (int i = 0; i < numbers.Length; i++)
            numbers[i] = InRange(key, Integer(key, value, i), least, most);
        return numbers;
    }

    public IReadOnlyList<float> Floats(string key)
    {
        if (!_values.TryGetValue(key, out GgufValue value))
            return [];
        ExpectArray(key, value, value.Element is GgufType.Float32 or GgufType.Float64, "numbers");
        float[] numbers = new float[value.Count];
        for (int i = 0; i < numbers.Length; i++)
        {
            numbers[i] = (float)Number(key, value, i);
            if (!float.IsFinite(numbers[i]))
                throw new ModelLoadException($"{Path}: '{key}' [{i}] is {numbers[i]}; it must be finite.");
        }
        return numbers;
    }

    public IReadOnlyList<bool> Bools(string key)
    {
        if (!_values.TryGetValue(key, out GgufValue value))
            return [];
        ExpectArray(key, value, value.Element is GgufType.Bool, "booleans");
        bool[] flags = new bool[value.Count];
        for (int i = 0; i < flags.Length; i++)
            flags[i] = file.Span(value.Offset + i, 1)[0] != 0;
        return flags;
    }

    /// <summary>Whether the key holds an array.</summary>
    public bool IsArray(string key) => _values.TryGetValue(key, out GgufValue value) && value.Type is GgufType.Array;

    public ModelLoadException Missing(string key) => new($"{Path}: metadata key '{key}' is missing.");

    // Token texts and templates are shown to people, never compared with bytes: an invalid sequence becomes U+FFFD.
    private static string Text(GgufCursor cursor, string key) => Encoding.UTF8.GetString(cursor.StringBytes($"'{key}'"));

    private GgufValue Expect(string key, GgufValue value, GgufType type) => value.Type == type ? value : throw Wrong(key, value, $"of type {type}");

    private void ExpectArray(string key, GgufValue value, bool elementFits, string what)
    {
        if (value.Type is not GgufType.Array || !elementFits)
            throw Wrong(key, value, $"an array of {what}");
    }

    private int InRange(string key, Int128 number, int least, int most) => number >= least && number <= most
        ? (int)number
        : throw new ModelLoadException($"{Path}: '{key}' is {number}; it must be from {least} to {most}.");

    private static bool IsInteger(GgufType type) => type is not (GgufType.Float32 or GgufType.Float64 or GgufType.Bool or GgufType.String or GgufType.Array);

    private Int128 Integer(string key, GgufValue value, int index)
    {
        if (!IsInteger(value.Element))
            throw Wrong(key, value, "an integer");
        ReadOnlySpan<byte> bytes = Element(value, index);
        return value.Element switch
        {
            GgufType.UInt8 => bytes[0],
            GgufType.Int8 => (sbyte)bytes[0],
            GgufType.UInt16 => BinaryPrimitives.ReadUInt16LittleEndian(bytes),
            GgufType.Int16 => BinaryPrimitives.ReadInt16LittleEndian(bytes),
            GgufType.UInt32 => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
            GgufType.Int32 => BinaryPrimitives.ReadInt32LittleEndian(bytes),
            GgufType.UInt64 => BinaryPrimitives.ReadUInt64LittleEndian(bytes),
            _ => BinaryPrimitives.ReadInt64LittleEndian(bytes),
        };
    }

    private double Number(string key, GgufValue value, int index) => value.Element switch
    {
        GgufType.Float32 => BinaryPrimitives.ReadSingleLittleEndian(Element(value, index)),
        GgufType.Float64 => BinaryPrimitives.ReadDoubleLittleEndian(Element(value, index)),
        _ => IsInteger(value.Element) ? (double)Integer(key, value, index) : throw Wrong(key, value, "a number"),
    };

    private ReadOnlySpan<byte> Element(GgufValue value, int index)
    {
        int size = GgufCursor.LeastBytes(value.Element);
        return file.Span(value.Offset + (long)index * size, size);
    }

    private ModelLoadException Wrong(string key, GgufValue value, string expected)
    {
        string found = value.Type is GgufType.Array ? $"an array of {value.Count} {value.Element}" : $"{value.Type}";
        return new ModelLoadException($"{Path}: '{key}' must be {expected}; found {found}.");
    }
}

/// <summary>A metadata value that lies checked in the file; decoded when it is asked for.</summary>
/// <param name="Type">Type of the value.</param>
/// <param name="Element">Of an array: type of its elements.</param>
/// <param name="Count">Of an array: its elements; else 1.</param>
/// <param name="Offset">Where its bytes begin (of a string or an array of strings: with the length).</param>
internal readonly record struct GgufValue(GgufType Type, GgufType Element, int Count, long Offset);

/// <summary>Types of GGUF metadata values, by their number in the file.</summary>
internal enum GgufType
{
    UInt8 = 0,
    Int8 = 1,
    UInt16 = 2,
    Int16 = 3,
    UInt32 = 4,
    Int32 = 5,
    Float32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    UInt64 = 10,
    Int64 = 11,
    Float64 = 12,
}
