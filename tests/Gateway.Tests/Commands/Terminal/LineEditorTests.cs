using System.Text;
using NUnit.Framework;
using TpServe.Gateway.Commands.Terminal;

namespace TpServe.Gateway.Tests.Commands.Terminal;

/// <summary>Bytes as a terminal sends them → what is written; each case is what a person does.</summary>
public sealed class LineEditorTests
{
    private static readonly string[] s_history = ["first", "second\nline"];

    private static (string Text, int Cursor, List<EditResult> Results) Type(string bytes, int cut = int.MaxValue, IReadOnlyList<string>? history = null)
    {
        KeyDecoder keys = new();
        LineEditor editor = new(history ?? []);
        List<EditResult> results = [];
        byte[] all = Encoding.UTF8.GetBytes(bytes);
        foreach (byte[] part in all.Chunk(Math.Min(cut, Math.Max(1, all.Length))))
            foreach (Key key in keys.Read(part))
                if (editor.Apply(key) is not EditResult.Edited and var result)
                    results.Add(result);
        return (editor.Text, editor.Cursor, results);
    }

    [TestCase("abc", "abc|")]
    [TestCase("abc\e[D\e[DX", "aX|bc")]
    [TestCase("abc\x01X\x05Y", "XabcY|")] // Ctrl-A, Ctrl-E
    [TestCase("abc\e[HX\e[FY", "XabcY|")]
    [TestCase("abc\eOHX\eOFY", "XabcY|")]
    [TestCase("abc\e[1~X\e[4~Y", "XabcY|")]
    [TestCase("abc\x7f", "ab|")]
    [TestCase("abc\e[D\e[3~", "ab|")]
    [TestCase("abc\x01\x04", "|bc")] // Ctrl-D inside a text deletes
    [TestCase("one two-three\x17", "one two-|")] // Ctrl-W
    [TestCase("one two\eb\ebX", "X|one two")]
    [TestCase("one two\x01\efX", "oneX| two")]
    [TestCase("one two\e[1;5DX", "one X|two")]
    [TestCase("one two\x01\e[1;3CX", "oneX| two")]
    [TestCase("one two\x01\ed", "| two")]
    [TestCase("one two\eb\x0b", "one |")] // Ctrl-K
    [TestCase("one two\eb\x15", "|two")] // Ctrl-U
    [TestCase("ab\x14", "ba|")] // Ctrl-T
    [TestCase("a\nb", "a\nb|")] // Ctrl-J
    [TestCase("a\e\rb", "a\nb|")] // Alt-Enter
    [TestCase("a\\\rb", "a\nb|")] // a trailing backslash
    [TestCase("a\nb\x01X", "a\nX|b")]
    [TestCase("abc\nd\e[A", "a|bc\nd")] // up, within the message
    [TestCase("abc\nd\e[A\e[BX", "abc\ndX|")]
    [TestCase("\e[200~two\r\nlines\e[201~", "two\nlines|")]
    [TestCase("a\e[200~\e[31mred\x03\e[201~b", "a[31mredb|")] // a paste moves nothing and stops nothing
    [TestCase("e\u0301x\x7f\x7f", "|")] // letter and accent are one
    [TestCase("👩‍👧x\e[D\e[D", "|👩‍👧x")]
    [TestCase("日本\e[DX", "日X|本")]
    [TestCase("a\e[99;99Zb\e[15~", "ab|")] // keys that mean nothing here
    [TestCase("a\x1f\x02\x06", "a|")]
    public void Keys_AsTyped_EditTheMessage(string bytes, string expected)
    {
        foreach (int cut in new[] { int.MaxValue, 1, 3 })
        {
            (string text, int cursor, List<EditResult> results) = Type(bytes, cut);
            Assert.That(text.Insert(cursor, "|"), Is.EqualTo(expected), $"in pieces of {cut}");
            Assert.That(results, Is.Empty);
        }
    }

    [TestCase("\e[A", "second\nline|")]
    [TestCase("\e[A\e[A\e[A", "first|")] // through the lines of the second, then on
    [TestCase("new\e[A\e[B", "new|")]
    [TestCase("new\x10\x0e", "new|")]
    [TestCase("\e[A\e[A\e[A\e[A", "first|")]
    public void History_ByArrows_IsGoneThrough(string bytes, string expected)
    {
        (string text, int cursor, _) = Type(bytes, history: s_history);
        Assert.That(text.Insert(cursor, "|"), Is.EqualTo(expected));
    }

    [TestCase("a\r", nameof(EditResult.Submitted))]
    [TestCase("\x04", nameof(EditResult.Ended))]
    [TestCase("a\x03", nameof(EditResult.Interrupted))]
    [TestCase("\x0c", nameof(EditResult.ScreenCleared))]
    public void Keys_ThatEndAMessage_AreTold(string bytes, string expected) => Assert.That(Type(bytes).Results.Single().ToString(), Is.EqualTo(expected));

    [Test]
    public void Decoder_RandomBytes_NeverFailsAndTheCursorStaysInside()
    {
        Random random = new(7);
        byte[] alphabet = Encoding.UTF8.GetBytes("ab \\\r\n\t\e\e\e[[[;~12350ABCDHFOobdu\x7f\x01\x03\x04\x05\x0b\x15\x17é日👩");
        for (int round = 0; round < 2000; round++)
        {
            KeyDecoder keys = new();
            LineEditor editor = new(s_history);
            for (int piece = 0; piece < 6; piece++)
            {
                byte[] bytes = [.. Enumerable.Range(0, random.Next(1, 12)).Select(_ => alphabet[random.Next(alphabet.Length)])];
                foreach (Key key in keys.Read(bytes))
                    editor.Apply(key);
                Assert.That(editor.Cursor, Is.InRange(0, editor.Text.Length));
            }
        }
    }

    [Test]
    public void View_OfAnyText_PutsTheCursorWhereItIs()
    {
        // A little terminal reads what is drawn.
        foreach ((string text, int cursor, int columns) in new[] { ("abc", 3, 20), ("abc", 0, 20), ("hello world, this wraps", 23, 10), ("hello world, this wraps", 4, 10), ("a\nbb\nccc", 3, 20), ("日本語のテキスト", 5, 9), ("12345678", 8, 10), ("e\u0301e\u0301", 2, 20) })
        {
            PromptView view = new("> ", "");
            Screen screen = new(columns);
            screen.Take(view.Draw("earlier text that is longer than a line of the screen", 3, columns));
            screen.Take(view.Draw(text, cursor, columns));
            Assert.That(Words(screen.TextBeforeCursor()), Is.EqualTo(Words("> " + text[..cursor])), $"{text} at {cursor}");
        }
    }

    private static string Words(string text) => string.Concat(text.Where(character => !char.IsWhiteSpace(character)));

    /// <summary>As much of a terminal as the view needs: characters, CR, LF, up, right, erase below.</summary>
    private sealed class Screen(int columns)
    {
        private readonly Dictionary<(int Row, int Column), string> _cells = [];
        private int _row, _column;

        public void Take(string text)
        {
            for (int at = 0; at < text.Length;)
            {
                if (text[at] == '\e')
                {
                    int end = at + 2;
                    while (!char.IsLetter(text[end]))
                        end++;
                    int count = int.TryParse(text.AsSpan(at + 2, end - at - 2), out int given) ? given : 1;
                    switch (text[end])
                    {
                        case 'A':
                            _row -= count;
                            break;
                        case 'C':
                            _column += count;
                            break;
                        case 'J':
                            foreach ((int Row, int Column) key in _cells.Keys.Where(key => key.Row > _row || (key.Row == _row && key.Column >= _column)).ToArray())
                                _cells.Remove(key);
                            break;
                    }
                    Assert.That(_row, Is.GreaterThanOrEqualTo(0));
                    at = end + 1;
                    continue;
                }
                int length = System.Globalization.StringInfo.GetNextTextElementLength(text, at);
                string element = text.Substring(at, length);
                at += length;
                if (element is "\r\n" or "\n")
                    (_row, _column) = (_row + 1, 0);
                else if (element == "\r")
                    _column = 0;
                else
                {
                    int width = PromptView.WidthOf(element);
                    Assert.That(_column + width, Is.LessThanOrEqualTo(columns), "a terminal would wrap by itself");
                    _cells[(_row, _column)] = element;
                    _column += width;
                }
            }
        }

        public string TextBeforeCursor() => string.Concat(_cells.Where(cell => cell.Key.Row < _row || (cell.Key.Row == _row && cell.Key.Column < _column)).OrderBy(cell => cell.Key).Select(cell => cell.Value));
    }
}
