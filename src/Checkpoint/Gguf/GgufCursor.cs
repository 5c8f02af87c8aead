using System.Buffers.Binary;
using System.Text;

namespace TpServe.Checkpoint.Gguf;

/// <summary>Reads a GGUF header front to back; every read is checked against what remains of the file.</summary>
/// <remarks>Errors  <see cref="ModelLoadException"/> naming file, byte, thing read and what remains.</remarks>
internal sealed class GgufCursor(MappedFile file, long position = 0)
{
    private const int MaxArrayDepth = 4;
    private const int MaxStringBytes = 64 << 20;
    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    public long Position { get; private set; } = position;

    public long Remaining => file.Length - Position;

    public uint UInt32(string what) => BinaryPrimitives.ReadUInt32LittleEndian(Take(4, what));

    public ulong UInt64(string what) => BinaryPrimitives.ReadUInt64LittleEndian(Take(8, what));

    /// <summary>A count of things that take at least bytesEach; what cannot fit into the rest of the file fails before anything is allocated.</summary>
    public int Count(string what, int bytesEach, int limit)
    {
        long at = Position;
        ulong count = UInt64(what);
        ulong fitting = (ulong)(Remaining / bytesEach);
        if (count > fitting)
            throw Fault(at, $"{what} is {count}, but the {Remaining} bytes that remain hold at most {fitting}: the file is truncated or damaged");
        if (count > (ulong)limit)
            throw Fault(at, $"{what} is {count}; the limit is {limit}");
        return (int)count;
    }

    /// <summary>A name: valid UTF-8 of 1 to limit bytes.</summary>
    public string Name(string what, int limit)
    {
        long at = Position;
        ReadOnlySpan<byte> bytes = StringBytes(what);
        if (bytes.Length is 0 || bytes.Length > limit)
            throw Fault(at, $"{what} has {bytes.Length} bytes; 1 to {limit} are allowed");
        try
        {
            return StrictUtf8.GetString(bytes);
        }
        catch (DecoderFallbackException fault)
        {
            throw new ModelLoadException($"{file.Path}: byte {at}: {what} is not valid UTF-8.", fault);
        }
    }

    /// <summary>The bytes of a string with its length before it.</summary>
    public ReadOnlySpan<byte> StringBytes(string what)
    {
        long at = Position;
        ulong length = UInt64($"the length of {what}");
        if (length > (ulong)Remaining)
            throw Fault(at, $"{what} is {length} bytes long, but {Remaining} remain: the file is truncated or damaged");
        if (length > MaxStringBytes)
            throw Fault(at, $"{what} is {length} bytes long; the limit is {MaxStringBytes}");
        return Take((int)length, what);
    }

    /// <summary>Steps over one metadata value and says where it lies.</summary>
    public GgufValue Value(string key)
    {
        GgufType type = Type(key);
        if (type is not GgufType.Array)
        {
            long offset = Position;
            Skip(type, 1, key);
            return new GgufValue(type, type, 1, offset);
        }
        return Array(key, 1);
    }

    private GgufValue Array(string key, int depth)
    {
        GgufType element = Type(key);
        int count = Count($"the number of elements of '{key}'", LeastBytes(element), int.MaxValue);
        long offset = Position;
        if (element is not GgufType.Array)
        {
            Skip(element, count, key);
        }
        else
        {
            if (depth >= MaxArrayDepth)
                throw Fault(offset, $"the array '{key}' is nested deeper than {MaxArrayDepth}");
            for (int i = 0; i < count; i++)
                Array(key, depth + 1);
        }
        return new GgufValue(GgufType.Array, element, count, offset);
    }

    private void Skip(GgufType type, int count, string key)
    {
        if (type is GgufType.String)
        {
            for (int i = 0; i < count; i++)
                StringBytes($"a string of '{key}'");
            return;
        }
        long bytes = (long)count * LeastBytes(type);
        if (bytes > Remaining)
            throw Fault(Position, $"the value of '{key}' takes {bytes} bytes, but {Remaining} remain: the file is truncated or damaged");
        Position += bytes;
    }

    private GgufType Type(string key)
    {
        long at = Position;
        uint number = UInt32($"the type of '{key}'");
        return number <= (uint)GgufType.Float64 ? (GgufType)number : throw Fault(at, $"'{key}' has type {number}; GGUF knows 0 to {(int)GgufType.Float64}");
    }

    /// <summary>Bytes of a fixed-size value; for strings and arrays the least they take.</summary>
    internal static int LeastBytes(GgufType type) => type switch
    {
        GgufType.UInt8 or GgufType.Int8 or GgufType.Bool => 1,
        GgufType.UInt16 or GgufType.Int16 => 2,
        GgufType.UInt32 or GgufType.Int32 or GgufType.Float32 => 4,
        GgufType.Array => 12,
        _ => 8,
    };

    private ReadOnlySpan<byte> Take(int count, string what)
    {
        if (count > Remaining)
            throw Fault(Position, $"{what} takes {count} bytes, but {Remaining} remain: the file is truncated");
        ReadOnlySpan<byte> bytes = file.Span(Position, count);
        Position += count;
        return bytes;
    }

    private ModelLoadException Fault(long at, string message) => new($"{file.Path}: byte {at}: {message}.");
}
