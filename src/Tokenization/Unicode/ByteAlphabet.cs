using System.Text;

namespace TpServe.Tokenization.Unicode;

/// <summary>GPT-2's alphabet: one printable character for each byte, so that a vocabulary of bytes can be written as text.</summary>
/// <remarks>
/// Source   Radford et al. 2019, bytes_to_unicode: printable Latin-1 stands for itself, the other 68 bytes for U+0100 on, in order.
/// </remarks>
internal static class ByteAlphabet
{
    private const int Characters = 0x144;
    private static readonly char[] CharacterOf = MakeCharacters();
    private static readonly short[] ByteOf = MakeBytes();

    /// <summary>Its characters, by byte.</summary>
    public static IReadOnlyList<char> All => CharacterOf;

    /// <summary>The text whose characters stand for the UTF-8 bytes of the given one.</summary>
    public static string Encode(ReadOnlySpan<char> text)
    {
        byte[] bytes = new byte[Encoding.UTF8.GetByteCount(text)];
        Encoding.UTF8.GetBytes(text, bytes);
        return string.Create(bytes.Length, bytes, static (characters, source) =>
        {
            for (int i = 0; i < source.Length; i++)
                characters[i] = CharacterOf[source[i]];
        });
    }

    /// <summary>The bytes a token stands for: one per character where all are of the alphabet, else the token's own UTF-8.</summary>
    public static byte[] Decode(string token)
    {
        byte[] bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            int value = token[i] < Characters ? ByteOf[token[i]] : -1;
            if (value < 0)
                return Encoding.UTF8.GetBytes(token);
            bytes[i] = (byte)value;
        }
        return bytes;
    }

    private static char[] MakeCharacters()
    {
        char[] characters = new char[256];
        int others = 0;
        for (int value = 0; value < 256; value++)
            characters[value] = value is (>= 33 and <= 126) or (>= 161 and <= 172) or >= 174 ? (char)value : (char)(256 + others++);
        return characters;
    }

    private static short[] MakeBytes()
    {
        short[] bytes = new short[Characters];
        Array.Fill(bytes, (short)-1);
        for (int value = 0; value < 256; value++)
            bytes[CharacterOf[value]] = (short)value;
        return bytes;
    }
}
