namespace TpServe.Ptx.Text;

/// <summary>One token of PTX text and the line it stands on, counted from 1.</summary>
internal readonly record struct Token(string Text, int Line);

/// <summary>Cuts PTX text into tokens; comments and debug lines (.loc, .file) are dropped.</summary>
internal static class Lexer
{
    public static List<Token> Read(string text)
    {
        List<Token> tokens = [];
        int line = 1, at = 0;
        while (at < text.Length)
        {
            char c = text[at];
            if (c == '\n')
            {
                line++;
                at++;
            }
            else if (char.IsWhiteSpace(c) || c == '\0')
                at++;
            else if (Starts(text, at, "//"))
                at = EndOfLine(text, at);
            else if (Starts(text, at, "/*"))
            {
                int end = text.IndexOf("*/", at + 2, StringComparison.Ordinal);
                end = end < 0 ? text.Length : end + 2;
                line += text.AsSpan(at, end - at).Count('\n');
                at = end;
            }
            else if (c == '"')
            {
                int end = text.IndexOf('"', at + 1);
                end = end < 0 ? text.Length : end + 1;
                tokens.Add(new Token(text[at..end], line));
                at = end;
            }
            else if (IsWord(c))
            {
                int end = EndOfWord(text, at);
                string word = text[at..end];
                if (word is ".loc" or ".file")
                    end = EndOfLine(text, at);
                else
                    tokens.Add(new Token(word, line));
                at = end;
            }
            else
            {
                tokens.Add(new Token(c.ToString(), line));
                at++;
            }
        }
        return tokens;
    }

    private static int EndOfWord(string text, int at)
    {
        int end = at;
        while (end < text.Length)
        {
            if (IsWord(text[end]))
                end++;
            else if (Starts(text, end, "::")) // .shared::cta and .L2::128B are one word
                end += 2;
            else if (text[end] is '-' or '+' && char.IsAsciiDigit(text[at]) && text[end - 1] is 'e' or 'E' && !text.AsSpan(at).StartsWith("0x") && text[at..end].Contains('.'))
                end++;
            else
                break;
        }
        return end;
    }

    private static bool IsWord(char c) => char.IsAsciiLetterOrDigit(c) || c is '_' or '$' or '%' or '.';

    private static bool Starts(string text, int at, string what) => string.CompareOrdinal(text, at, what, 0, what.Length) == 0;

    private static int EndOfLine(string text, int at)
    {
        int end = text.IndexOf('\n', at);
        return end < 0 ? text.Length : end;
    }
}
