using System.Globalization;
using System.Text;

namespace TpServe.ChatTemplates.Lexing;

/// <summary>Resolves the backslash escapes of a Python string literal.</summary>
internal static class StringEscapes
{
    /// <summary>The text a literal stands for, or null where an escape is malformed; an unknown escape keeps its backslash.</summary>
    public static string? Resolve(ReadOnlySpan<char> literal)
    {
        StringBuilder text = new(literal.Length);
        for (int at = 0; at < literal.Length; at++)
        {
            if (literal[at] != '\\')
            {
                text.Append(literal[at]);
                continue;
            }
            if (++at == literal.Length)
                return null;
            char c = literal[at];
            int digits = c switch { 'x' => 2, 'u' => 4, 'U' => 8, _ => 0 };
            if (digits > 0)
            {
                if (at + digits >= literal.Length)
                    return null;
                if (!int.TryParse(literal.Slice(at + 1, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int code) ||
                    code is < 0 or > 0x10FFFF)
                    return null;
                text.Append(code <= 0xFFFF ? ((char)code).ToString() : char.ConvertFromUtf32(code));
                at += digits;
                continue;
            }
            if (c is >= '0' and <= '7')
            {
                int code = 0, end = at;
                while (end < literal.Length && end < at + 3 && literal[end] is >= '0' and <= '7')
                    code = code * 8 + (literal[end++] - '0');
                text.Append((char)code);
                at = end - 1;
                continue;
            }
            if (c == 'N')
                return null; // \N{NAME} needs the names of all characters
            if (c == '\n')
                continue;
            int known = "\\'\"abfnrtv".IndexOf(c, StringComparison.Ordinal);
            if (known >= 0)
                text.Append("\\'\"\a\b\f\n\r\t\v"[known]);
            else
                text.Append('\\').Append(c);
        }
        return text.ToString();
    }
}
