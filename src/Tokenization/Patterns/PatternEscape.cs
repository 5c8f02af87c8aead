using System.Globalization;
using System.Text;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Patterns;

/// <summary>Reads one backslash escape that stands for a set of code points, inside brackets or outside.</summary>
internal static class PatternEscape
{
    private static readonly CodePointSet Digit = UnicodeClasses.Property("Nd")!;
    private static readonly CodePointSet HexDigit = UnicodeClasses.Property("xdigit")!;

    /// <summary>The set of the escape at position at, which moves past it.</summary>
    public static CodePointSet Read(string source, ref int at)
    {
        if (at + 1 >= source.Length)
            throw new TokenizerException($"Pattern '{Pattern.Shorten(source)}' ends in a backslash.");
        char letter = source[at + 1];
        int from = at;
        at += 2;
        switch (letter)
        {
            case 'n':
                return CodePointSet.Of('\n');
            case 'r':
                return CodePointSet.Of('\r');
            case 't':
                return CodePointSet.Of('\t');
            case 'f':
                return CodePointSet.Of('\f');
            case 'v':
                return CodePointSet.Of('\v');
            case 'a':
                return CodePointSet.Of('\a');
            case 'e':
                return CodePointSet.Of(0x1B);
            case 'd':
                return Digit;
            case 'D':
                return Digit.Complement();
            case 'h':
                return HexDigit;
            case 'H':
                return HexDigit.Complement();
            case 's':
                return UnicodeClasses.WhiteSpace;
            case 'S':
                return UnicodeClasses.WhiteSpace.Complement();
            case 'w':
                return Pattern.Word;
            case 'W':
                return Pattern.Word.Complement();
            case 'p' or 'P':
                return Property(source, ref at, letter == 'P');
            case 'x' when at < source.Length && source[at] == '{':
                int close = source.IndexOf('}', at);
                string braced = close < 0 ? "" : source[(at + 1)..close];
                at = close + 1;
                return CodePointSet.Of(Number(source, from, braced, NumberStyles.AllowHexSpecifier));
            case 'x':
                return CodePointSet.Of(Number(source, from, Digits(source, ref at, 2, char.IsAsciiHexDigit), NumberStyles.AllowHexSpecifier));
            case 'u':
                return CodePointSet.Of(Number(source, from, Digits(source, ref at, 4, char.IsAsciiHexDigit), NumberStyles.AllowHexSpecifier));
            case '0':
                string octal = Digits(source, ref at, 2, char.IsAsciiDigit);
                return CodePointSet.Of(octal.Aggregate(0, (value, digit) => (value * 8) + digit - '0'));
            default:
                if (char.IsAsciiLetterOrDigit(letter))
                    throw new TokenizerException($"Pattern '{Pattern.Shorten(source)}' has the escape '\\{letter}' at character {from}, which is not supported.");
                Rune.DecodeFromUtf16(source.AsSpan(from + 1), out Rune rune, out int length);
                at = from + 1 + length;
                return CodePointSet.Of(rune.Value);
        }
    }

    private static CodePointSet Property(string source, ref int at, bool negative)
    {
        int close = source.IndexOf('}', at);
        if (at >= source.Length || source[at] != '{' || close < 0)
            throw new TokenizerException($"Pattern '{Pattern.Shorten(source)}' has a property without braces at character {at}.");
        string name = source[(at + 1)..close];
        at = close + 1;
        if (name.StartsWith('^'))
        {
            negative = !negative;
            name = name[1..];
        }
        CodePointSet set = UnicodeClasses.Property(name) ??
            throw new TokenizerException($"Pattern '{Pattern.Shorten(source)}' names the property '{Pattern.Shorten(name)}', which is not known.");
        return negative ? set.Complement() : set;
    }

    private static string Digits(string source, ref int at, int most, Func<char, bool> isDigit)
    {
        int from = at;
        while (at < source.Length && at - from < most && isDigit(source[at]))
            at++;
        return source[from..at];
    }

    private static int Number(string source, int from, string digits, NumberStyles style) =>
        int.TryParse(digits, style, CultureInfo.InvariantCulture, out int value) && value is >= 0 and < CodePointSet.Limit
            ? value
            : throw new TokenizerException($"Pattern '{Pattern.Shorten(source)}' has a malformed code point at character {from}.");
}
