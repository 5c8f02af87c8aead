using System.Globalization;

namespace TpServe.Gateway.Commands.Terminal;

/// <summary>What a key led to.</summary>
internal enum EditResult { Edited, Submitted, Interrupted, Ended, ScreenCleared }

/// <summary>A message that is being written: its text, the cursor, and the way through what was written before. Pure.</summary>
/// <param name="history">The oldest first; read only.</param>
internal sealed class LineEditor(IReadOnlyList<string> history)
{
    private int _at = history.Count;
    private string _draft = "";

    /// <summary>What is written; lines end by \n.</summary>
    public string Text { get; private set; } = "";

    /// <summary>Before which UTF-16 code unit the cursor stands; never inside a character as people count them.</summary>
    public int Cursor { get; private set; }

    /// <summary>Takes one key.</summary>
    public EditResult Apply(Key key)
    {
        switch (key.Kind)
        {
            case KeyKind.Text:
                Insert(key.Text);
                break;
            case KeyKind.NewLine:
                Insert("\n");
                break;
            case KeyKind.Enter when Cursor == Text.Length && Text.EndsWith('\\'):
                Replace(Text.Length - 1, Text.Length, "\n");
                break;
            case KeyKind.Enter:
                return EditResult.Submitted;
            case KeyKind.Backspace:
                Replace(Before(Cursor), Cursor, "");
                break;
            case KeyKind.Delete:
                Replace(Cursor, After(Cursor), "");
                break;
            case KeyKind.EndOfInput when Text.Length == 0:
                return EditResult.Ended;
            case KeyKind.EndOfInput:
                Replace(Cursor, After(Cursor), "");
                break;
            case KeyKind.Left:
                Cursor = Before(Cursor);
                break;
            case KeyKind.Right:
                Cursor = After(Cursor);
                break;
            case KeyKind.WordLeft:
                Cursor = WordBefore();
                break;
            case KeyKind.WordRight:
                Cursor = WordAfter();
                break;
            case KeyKind.Home:
                Cursor = LineStart(Cursor);
                break;
            case KeyKind.End:
                Cursor = LineEnd(Cursor);
                break;
            case KeyKind.Up:
                Up();
                break;
            case KeyKind.Down:
                Down();
                break;
            case KeyKind.DeleteWord:
                Replace(WordBefore(), Cursor, "");
                break;
            case KeyKind.DeleteWordForward:
                Replace(Cursor, WordAfter(), "");
                break;
            case KeyKind.DeleteToStart:
                Replace(LineStart(Cursor), Cursor, "");
                break;
            case KeyKind.DeleteToEnd:
                Replace(Cursor, LineEnd(Cursor), "");
                break;
            case KeyKind.Transpose:
                Transpose();
                break;
            case KeyKind.ClearScreen:
                return EditResult.ScreenCleared;
            case KeyKind.Interrupt:
                return EditResult.Interrupted;
        }
        return EditResult.Edited;
    }

    private void Insert(string text) => Replace(Cursor, Cursor, text);

    private void Replace(int start, int end, string text)
    {
        Text = string.Concat(Text.AsSpan(0, start), text, Text.AsSpan(end));
        Cursor = start + text.Length;
    }

    // Within the lines of the message first; from its first and last line on, through the history.
    private void Up()
    {
        int start = LineStart(Cursor);
        if (start > 0)
        {
            int above = LineStart(start - 1);
            Cursor = Math.Min(above + (Cursor - start), start - 1);
            Settle();
        }
        else if (_at > 0)
            Show(_at - 1);
    }

    private void Down()
    {
        int end = LineEnd(Cursor);
        if (end < Text.Length)
        {
            Cursor = Math.Min(end + 1 + (Cursor - LineStart(Cursor)), LineEnd(end + 1));
            Settle();
        }
        else if (_at < history.Count)
            Show(_at + 1);
    }

    private void Show(int at)
    {
        if (_at == history.Count)
            _draft = Text;
        _at = at;
        Text = at == history.Count ? _draft : history[at];
        Cursor = Text.Length;
    }

    private void Transpose()
    {
        int middle = Cursor == LineEnd(Cursor) ? Before(Cursor) : Cursor;
        int start = Before(middle), end = After(middle);
        if (start < middle && middle < end && Text[start] != '\n')
            Replace(start, end, Text[middle..end] + Text[start..middle]);
    }

    private int Before(int at)
    {
        int last = 0;
        foreach (int start in StringInfo.ParseCombiningCharacters(Text))
            if (start < at)
                last = start;
        return last;
    }

    private int After(int at) => at == Text.Length ? at : at + StringInfo.GetNextTextElementLength(Text, at);

    // A cursor that came from another line may stand inside a character.
    private void Settle() => Cursor = Cursor == Text.Length ? Cursor : Before(Cursor + 1);

    private int LineStart(int at) => at == 0 ? 0 : Text.LastIndexOf('\n', at - 1) + 1;

    private int LineEnd(int at) => Text.IndexOf('\n', at) is >= 0 and int end ? end : Text.Length;

    private int WordBefore()
    {
        int at = Cursor;
        while (at > 0 && !char.IsLetterOrDigit(Text[at - 1]))
            at--;
        while (at > 0 && char.IsLetterOrDigit(Text[at - 1]))
            at--;
        return at == 0 ? 0 : Before(at + 1);
    }

    private int WordAfter()
    {
        int at = Cursor;
        while (at < Text.Length && !char.IsLetterOrDigit(Text[at]))
            at++;
        while (at < Text.Length && char.IsLetterOrDigit(Text[at]))
            at++;
        return at;
    }
}
