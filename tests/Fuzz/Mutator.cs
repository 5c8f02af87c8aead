using System.Text;

namespace TpServe.Fuzz;

/// <summary>Damages an input: bits, bytes, counts, and, where it is a text, its words.</summary>
/// <param name="seeds">Right inputs, one of which is damaged and another spliced in.</param>
/// <param name="words">What the input's language is made of, to be put anywhere.</param>
/// <param name="isText">Its words matter more than its bytes.</param>
internal sealed class Mutator(IReadOnlyList<byte[]> seeds, IReadOnlyList<string> words, bool isText)
{
    /// <summary>Words of JSON, among them those that readers stumble over.</summary>
    public static IReadOnlyList<string> Json { get; } =
    [
        "{", "}", "[", "]", ",", ":", "\"", "null", "true", "false", "0", "-1", "1", "-0", "0.5", "1e999", "-1e999", "1e-999", "2147483647", "2147483648", "-2147483649",
        "9223372036854775807", "18446744073709551616", "1" + new string('0', 400), "\"\"", "[]", "{}", "[[]]", "{\"a\":{}}", "\"\\ud800\"", "\"\\u0000\"", "\"\\", "\"a\":", "/*", "\ufeff", "\u0000", "NaN", "\"中\"", "\"👍\"", "\"\ufffd\"",
    ];

    private static readonly byte[] s_bytes = [0, 1, 0x7f, 0x80, 0xff, (byte)'"', (byte)'{', (byte)'}', (byte)'[', (byte)']', (byte)'\n', (byte)' ', 0xc0, 0xed, 0xf4];
    private static readonly long[] s_counts = [0, 1, -1, 2, 127, 255, 256, 65535, 65536, int.MaxValue, int.MinValue, uint.MaxValue, 1L << 32, long.MaxValue, long.MinValue, 1L << 40];
    private static readonly int[] s_repeats = [2, 3, 16, 65, 300, 2000];

    private readonly byte[][] _words = [.. words.Select(Encoding.UTF8.GetBytes)];

    /// <summary>The input of this number: the same for the same number, for ever.</summary>
    public byte[] Make(Random random)
    {
        byte[] input = seeds[random.Next(seeds.Count)];
        for (int changes = 1 + random.Next(4); changes > 0; changes--)
            input = isText && random.Next(4) > 0 ? ChangeWord(input, random) : ChangeBytes(input, random);
        return input;
    }

    private byte[] ChangeBytes(byte[] input, Random random)
    {
        if (input.Length == 0)
            return _words[random.Next(_words.Length)];
        int at = random.Next(input.Length);
        switch (random.Next(9))
        {
            case 0:
                return With(input, at, [(byte)(input[at] ^ (1 << random.Next(8)))]);
            case 1:
                return With(input, at, [s_bytes[random.Next(s_bytes.Length)]]);
            case 2:
                return With(input, at, [(byte)random.Next(256)]);
            case 3: // a count or an offset, of 4 or 8 bytes
                return With(input, at, BitConverter.GetBytes(s_counts[random.Next(s_counts.Length)]).AsSpan(0, random.Next(2) == 0 ? 4 : 8));
            case 4:
                return [.. input[..at], .. _words[random.Next(_words.Length)], .. input[at..]];
            case 5:
                return [.. input[..at], .. input[Math.Min(input.Length, at + 1 + random.Next(16))..]];
            case 6:
                return input[..at];
            case 7: // a stretch again
                return [.. input[..at], .. input[Math.Max(0, at - 1 - random.Next(64))..]];
            default: // the rest of another
                byte[] other = seeds[random.Next(seeds.Count)];
                return [.. input[..at], .. other[Math.Min(at, other.Length)..]];
        }
    }

    private byte[] ChangeWord(byte[] input, Random random)
    {
        if (input.Length == 0)
            return input;
        (int start, int end) = WordAt(input, random.Next(input.Length));
        byte[] word = _words[random.Next(_words.Length)];
        switch (random.Next(6))
        {
            case 0:
                return [.. input[..start], .. word, .. input[end..]];
            case 1:
                return [.. input[..start], .. input[end..]];
            case 2: // two of its words change places
                (int start2, int end2) = WordAt(input, random.Next(input.Length));
                if (start2 < end)
                    return input;
                return [.. input[..start], .. input[start2..end2], .. input[end..start2], .. input[start..end], .. input[end2..]];
            case 3: // a word of another
                byte[] other = seeds[random.Next(seeds.Count)];
                if (other.Length == 0)
                    return input;
                (int start3, int end3) = WordAt(other, random.Next(other.Length));
                return [.. input[..start], .. other[start3..end3], .. input[end..]];
            case 4: // many times: nesting, long texts, long lists
                byte[] repeated = random.Next(2) == 0 ? word : input[start..end];
                int times = Math.Min(s_repeats[random.Next(s_repeats.Length)], 8192 / (repeated.Length + 1) + 1);
                return [.. input[..start], .. Enumerable.Repeat(repeated, times).SelectMany(part => part), .. input[end..]];
            default:
                return [.. input[..start], .. word, .. input[start..]];
        }
    }

    // A quoted string, a run of letters and digits, or one character.
    private static (int Start, int End) WordAt(byte[] input, int at)
    {
        int start = at, end = at + 1;
        if (input[at] == '"')
        {
            while (end < input.Length && input[end] != '"' && end - at < 200)
                end++;
            return (start, Math.Min(input.Length, end + 1));
        }
        if (!IsWord(input[at]))
            return (start, end);
        while (start > 0 && IsWord(input[start - 1]))
            start--;
        while (end < input.Length && IsWord(input[end]))
            end++;
        return (start, end);
    }

    private static bool IsWord(byte value) => value is (>= (byte)'0' and <= (byte)'9') or (>= (byte)'a' and <= (byte)'z') or (>= (byte)'A' and <= (byte)'Z') or (byte)'_' or (byte)'.' or (byte)'-' or >= 0x80;

    private static byte[] With(byte[] input, int at, ReadOnlySpan<byte> value)
    {
        byte[] changed = [.. input];
        value[..Math.Min(value.Length, changed.Length - at)].CopyTo(changed.AsSpan(at));
        return changed;
    }
}
