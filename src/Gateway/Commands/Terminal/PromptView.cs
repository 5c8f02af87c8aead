using System.Globalization;
using System.Text;

namespace TpServe.Gateway.Commands.Terminal;

/// <summary>The prompt and what is written after it, drawn over what was drawn before. Pure: text in, control sequences out.</summary>
/// <param name="prompt">Before the first line; further lines are indented by as much.</param>
/// <param name="colour">Control sequence before the prompt; empty = none.</param>
internal sealed class PromptView(string prompt, string colour)
{
    private int _row;

    /// <summary>Draws a text with its cursor.</summary>
    /// <param name="text">Lines end by \n.</param>
    /// <param name="cursor">Before which code unit.</param>
    /// <param name="columns">The terminal's width.</param>
    public string Draw(string text, int cursor, int columns)
    {
        StringBuilder drawn = new();
        if (_row > 0)
            drawn.Append(CultureInfo.InvariantCulture, $"\e[{_row}A");
        drawn.Append("\r\e[J").Append(colour).Append(prompt).Append(colour.Length > 0 ? "\e[0m" : "");
        int indent = Math.Min(WidthOf(prompt), Math.Max(0, columns - 2)), row = 0, column = indent, cursorRow = 0, cursorColumn = indent;
        for (int at = 0; at <= text.Length;)
        {
            if (at == cursor)
                (cursorRow, cursorColumn) = (row, column);
            if (at == text.Length)
                break;
            if (text[at] == '\n')
            {
                drawn.Append("\r\n").Append(' ', indent);
                (row, column) = (row + 1, indent);
                at++;
                continue;
            }
            int length = StringInfo.GetNextTextElementLength(text, at);
            string element = text[at] == '\t' ? "  " : text.Substring(at, length);
            int width = WidthOf(element);
            if (column + width > columns)
            {
                drawn.Append("\r\n");
                (row, column) = (row + 1, 0);
                if (at == cursor)
                    (cursorRow, cursorColumn) = (row, column);
            }
            drawn.Append(element);
            column += width;
            at += length;
        }
        if (column >= columns)
        {
            // The cursor of a full line hangs at its end: on the next one everybody agrees where it is.
            drawn.Append("\r\n");
            if (cursor == text.Length)
                (cursorRow, cursorColumn) = (row + 1, 0);
            row++;
        }
        if (row > cursorRow)
            drawn.Append(CultureInfo.InvariantCulture, $"\e[{row - cursorRow}A");
        drawn.Append('\r');
        if (cursorColumn > 0)
            drawn.Append(CultureInfo.InvariantCulture, $"\e[{cursorColumn}C");
        _row = cursorRow;
        return drawn.ToString();
    }

    /// <summary>What is drawn stays; the next prompt begins below it.</summary>
    public void Leave() => _row = 0;

    /// <summary>Columns of a text: two for wide characters, none for what combines.</summary>
    /// <remarks>Source   Unicode UAX #11, wide ranges in blocks; ambiguous characters count one.</remarks>
    public static int WidthOf(string text)
    {
        int width = 0;
        foreach (Rune rune in text.EnumerateRunes())
            width += Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark or UnicodeCategory.Format or UnicodeCategory.Control ? 0
                : IsWide(rune.Value) ? 2 : 1;
        return width;
    }

    private static bool IsWide(int value) => value is
        (>= 0x1100 and <= 0x115F) or (>= 0x2E80 and <= 0x303E) or (>= 0x3041 and <= 0xA4CF) or (>= 0xA960 and <= 0xA97F) or (>= 0xAC00 and <= 0xD7A3)
        or (>= 0xF900 and <= 0xFAFF) or (>= 0xFE30 and <= 0xFE6F) or (>= 0xFF00 and <= 0xFF60) or (>= 0xFFE0 and <= 0xFFE6)
        or (>= 0x1F300 and <= 0x1F64F) or (>= 0x1F680 and <= 0x1F6FF) or (>= 0x1F900 and <= 0x1F9FF) or (>= 0x1FA70 and <= 0x1FAFF) or (>= 0x20000 and <= 0x3FFFD);
}
