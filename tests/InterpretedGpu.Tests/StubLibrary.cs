using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace TpServe.InterpretedGpu.Tests;

/// <summary>A shared library without code of its own: each function jumps to where its slot of a table points.</summary>
/// <remarks>
/// So managed functions stand behind the names of a native library, and whoever loads it by its name calls them. The arguments stay where the
/// caller put them, whatever they are.
/// Source   System V ABI, "Object Files" and "Dynamic Linking"; x86-64 psABI.
/// </remarks>
internal static unsafe class StubLibrary
{
    private const int HeaderBytes = 64, ProgramHeaderBytes = 56, ProgramHeaders = 4, SymbolBytes = 24, StubBytes = 8, PageBytes = 4096;
    private const string Table = "table";

    /// <summary>Writes, loads and fills the library; it stays loaded for the life of the process.</summary>
    /// <param name="soname">The name under which others find it once it is loaded.</param>
    /// <param name="functions">Native code by name.</param>
    public static void Load(string soname, IReadOnlyDictionary<string, nint> functions)
    {
        string[] names = [.. functions.Keys];
        string folder = Directory.CreateTempSubdirectory("tpserve-stub").FullName;
        try
        {
            string path = Path.Combine(folder, soname);
            File.WriteAllBytes(path, Image(soname, names));
            nint* table = (nint*)NativeLibrary.GetExport(NativeLibrary.Load(path), Table);
            for (int i = 0; i < names.Length; i++)
                table[i] = functions[names[i]]; // the image has a slot for each name
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static byte[] Image(string soname, string[] names)
    {
        // Strings and symbols: nothing, the functions, the table.
        List<byte> strings = [0];
        int Text(string text)
        {
            int at = strings.Count;
            strings.AddRange(Encoding.ASCII.GetBytes(text));
            strings.Add(0);
            return at;
        }
        int[] nameAt = [.. names.Select(Text)];
        int tableName = Text(Table), ownName = Text(soname), symbols = names.Length + 2;

        // Where everything lies; a file offset is also the address.
        int symbolsAt = HeaderBytes + ProgramHeaders * ProgramHeaderBytes, stringsAt = symbolsAt + symbols * SymbolBytes;
        int hashAt = Aligned(stringsAt + strings.Count, 8), codeAt = Aligned(hashAt + (3 + symbols) * 4, 16), codeEnd = codeAt + names.Length * StubBytes;
        int dynamicAt = Aligned(codeEnd, PageBytes), tableAt = dynamicAt + 8 * 16, end = tableAt + names.Length * 8;
        byte[] image = new byte[end];

        // The file's header: a 64-bit little-endian shared object for x86-64.
        new byte[] { 0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1 }.CopyTo(image, 0);
        Put16(16, 3);
        Put16(18, 62);
        Put32(20, 1);
        Put64(32, HeaderBytes);
        Put16(52, HeaderBytes);
        Put16(54, ProgramHeaderBytes);
        Put16(56, ProgramHeaders);
        ProgramHeader(0, type: 1, flags: 5, 0, codeEnd, PageBytes);                       // load, read and execute
        ProgramHeader(1, type: 1, flags: 6, dynamicAt, end - dynamicAt, PageBytes);       // load, read and write
        ProgramHeader(2, type: 2, flags: 6, dynamicAt, 8 * 16, 8);                        // dynamic
        ProgramHeader(3, type: 0x6474E551, flags: 6, 0, 0, 16);                           // the stack need not be executable

        for (int i = 0; i < names.Length; i++)
        {
            Symbol(i + 1, nameAt[i], 0x12, codeAt + i * StubBytes, StubBytes);
            // jmp *(slot), relative to the next instruction
            int at = codeAt + i * StubBytes;
            (image[at], image[at + 1]) = (0xFF, 0x25);
            Put32(at + 2, tableAt + i * 8 - (at + 6));
        }
        Symbol(names.Length + 1, tableName, 0x11, tableAt, names.Length * 8);
        strings.CopyTo(image, stringsAt);

        // One bucket: a chain through all symbols.
        Put32(hashAt, 1);
        Put32(hashAt + 4, symbols);
        Put32(hashAt + 8, 1);
        for (int i = 1; i + 1 < symbols; i++)
            Put32(hashAt + 12 + i * 4, i + 1);

        (long Tag, long Value)[] dynamic = [(4, hashAt), (5, stringsAt), (6, symbolsAt), (10, strings.Count), (11, SymbolBytes), (14, ownName), (0, 0)];
        for (int i = 0; i < dynamic.Length; i++)
        {
            Put64(dynamicAt + i * 16, dynamic[i].Tag);
            Put64(dynamicAt + i * 16 + 8, dynamic[i].Value);
        }
        return image;

        void ProgramHeader(int index, int type, int flags, int at, int bytes, int alignment)
        {
            int header = HeaderBytes + index * ProgramHeaderBytes;
            Put32(header, type);
            Put32(header + 4, flags);
            foreach (int field in (int[])[8, 16, 24])
                Put64(header + field, at);
            Put64(header + 32, bytes);
            Put64(header + 40, bytes);
            Put64(header + 48, alignment);
        }

        void Symbol(int index, int name, byte info, int address, int bytes)
        {
            int symbol = symbolsAt + index * SymbolBytes;
            Put32(symbol, name);
            image[symbol + 4] = info;
            Put16(symbol + 6, 1); // in some section: defined here
            Put64(symbol + 8, address);
            Put64(symbol + 16, bytes);
        }

        void Put16(int at, short value) => BinaryPrimitives.WriteInt16LittleEndian(image.AsSpan(at), value);
        void Put32(int at, int value) => BinaryPrimitives.WriteInt32LittleEndian(image.AsSpan(at), value);
        void Put64(int at, long value) => BinaryPrimitives.WriteInt64LittleEndian(image.AsSpan(at), value);
    }

    private static int Aligned(int value, int alignment) => (value + alignment - 1) / alignment * alignment;
}
