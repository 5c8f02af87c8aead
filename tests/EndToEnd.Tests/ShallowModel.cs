using System.Buffers.Binary;
using System.Text;
using System.Text.RegularExpressions;

namespace TpServe.EndToEnd.Tests;

/// <summary>A GGUF file made of another: with its first layers alone, or with all of which only the first do anything.</summary>
/// <remarks>
/// A layer whose two output projections are 0 adds nothing to the stream: so the second kind computes what the first does, bit for bit, at the cost of the whole.
/// Source   GGUF specification, version 3.
/// </remarks>
internal static partial class ShallowModel
{
    private const int Alignment = 32;

    /// <summary>Writes the file.</summary>
    /// <param name="source">A file whose data is aligned to 32 bytes.</param>
    /// <param name="path">Where to.</param>
    /// <param name="layers">How many of its layers it has.</param>
    /// <param name="living">How many of those do something.</param>
    public static void Write(string source, string path, int layers, int living)
    {
        byte[] bytes = File.ReadAllBytes(source);
        int at = 8;
        ulong tensorCount = Take<ulong>(), keys = Take<ulong>();
        int firstKey = at;
        for (ulong key = 0; key < keys; key++)
        {
            string name = TakeText();
            uint type = Take<uint>();
            if (name.EndsWith(".block_count", StringComparison.Ordinal))
                BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), (uint)layers);
            Skip(type);
        }
        int lastKey = at;
        List<(string Name, byte[] Shape, ulong Offset)> tensors = [];
        for (ulong tensor = 0; tensor < tensorCount; tensor++)
        {
            string name = TakeText();
            int shape = at;
            at += 4 + 8 * (int)BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at)) + 4; // dimensions, their sizes, type
            tensors.Add((name, bytes[shape..at], Take<ulong>()));
        }
        int data = Aligned(at);
        ulong[] ends = [.. tensors.Select(tensor => tensor.Offset).Append((ulong)(bytes.Length - data)).Order()];
        List<(string Name, byte[] Shape, byte[] Data)> kept = [];
        foreach ((string name, byte[] shape, ulong offset) in tensors)
        {
            int layer = Layer().Match(name) is { Success: true } match ? int.Parse(match.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture) : -1;
            if (layer >= layers)
                continue;
            byte[] content = bytes[(data + (int)offset)..(data + (int)ends.First(end => end > offset))];
            if (layer >= living && (name.Contains("attn_output", StringComparison.Ordinal) || name.Contains("ffn_down", StringComparison.Ordinal)))
                Array.Clear(content); // a block of zeros is 0 in every format that such files have
            kept.Add((name, shape, content));
        }

        using BinaryWriter writer = new(File.Create(path));
        writer.Write(bytes.AsSpan(0, 8));
        writer.Write((ulong)kept.Count);
        writer.Write(keys);
        writer.Write(bytes.AsSpan(firstKey, lastKey - firstKey));
        ulong next = 0;
        foreach ((string name, byte[] shape, byte[] content) in kept)
        {
            writer.Write((ulong)Encoding.UTF8.GetByteCount(name));
            writer.Write(Encoding.UTF8.GetBytes(name));
            writer.Write(shape);
            writer.Write(next);
            next += (ulong)Aligned(content.Length);
        }
        foreach ((string _, byte[] _, byte[] content) in kept)
        {
            writer.Write(new byte[Aligned((int)writer.BaseStream.Position) - (int)writer.BaseStream.Position]);
            writer.Write(content);
        }

        T Take<T>() where T : unmanaged
        {
            T value = System.Runtime.InteropServices.MemoryMarshal.Read<T>(bytes.AsSpan(at));
            at += System.Runtime.CompilerServices.Unsafe.SizeOf<T>();
            return value;
        }

        string TakeText()
        {
            int length = (int)Take<ulong>();
            at += length;
            return Encoding.UTF8.GetString(bytes, at - length, length);
        }

        void Skip(uint type)
        {
            switch (type)
            {
                case 8:
                    TakeText();
                    break;
                case 9:
                    uint element = Take<uint>();
                    for (ulong count = Take<ulong>(); count > 0; count--)
                        Skip(element);
                    break;
                default:
                    at += type switch { 0 or 1 or 7 => 1, 2 or 3 => 2, 4 or 5 or 6 => 4, _ => 8 };
                    break;
            }
        }
    }

    private static int Aligned(int bytes) => (bytes + Alignment - 1) / Alignment * Alignment;

    [GeneratedRegex(@"^blk\.(\d+)\.")]
    private static partial Regex Layer();
}
