using System.Text;

namespace TpServe.Gateway.Commands.Terminal;

/// <summary>Markdown as it streams in → text with the terminal's own emphasis: headings, lists, quotes, code, bold, italic. Nothing is held back but marks that are not yet whole.</summary>
/// <remarks>What a model writes is hostile to a terminal: control characters never pass.</remarks>
/// <param name="isStyled">False = marks stay as they were written.</param>
internal sealed class MarkdownWriter(bool isStyled)
{
    private const string Reset = "\e[0m", CodeColour = "\e[36m", HeadingStyle = "\e[1m", Dim = "\e[2m";

    private readonly StringBuilder _head = new();
    private string _marks = "";
    private char _last = '\n';
    private bool _isLineStart = true, _inFence, _isHeading, _isBold, _isItalic, _isCode;

    /// <summary>What the next piece puts on the screen.</summary>
    public string Write(string piece)
    {
        StringBuilder shown = new();
        foreach (char character in piece)
            if (character is '\n' or '\t' || !char.IsControl(character))
            {
                if (isStyled)
                    Take(character, shown);
                else
                    shown.Append(character);
            }
        return shown.ToString();
    }

    /// <summary>What is still held back, and the end of every style.</summary>
    public string End()
    {
        if (!isStyled)
            return "";
        StringBuilder shown = new();
        if (_isLineStart)
            DecideHead(shown, next: '\n');
        Flush(shown, next: ' ');
        return shown.Append(Reset).ToString();
    }

    private void Take(char character, StringBuilder shown)
    {
        if (_isLineStart)
        {
            if (character == '\n')
            {
                DecideHead(shown, '\n');
                EndLine(shown);
                return;
            }
            if (MayBeHead(character))
            {
                _head.Append(character);
                return;
            }
            DecideHead(shown, character);
        }
        if (character == '\n')
        {
            EndLine(shown);
            return;
        }
        if (_inFence)
            shown.Append(character);
        else
            Inline(character, shown);
    }

    // A line's first characters wait while they may turn out to be its mark; of a fence, the whole line.
    private bool MayBeHead(char character)
    {
        string head = _head.ToString().TrimStart(' ');
        if (head.StartsWith("```", StringComparison.Ordinal))
            return true;
        if (head.Length == 0)
            return character is ' ' or '`' || (!_inFence && character is '#' or '-' or '*' or '+' or '>');
        return head[0] switch
        {
            '`' => character == '`' && head.Length < 3,
            '#' => !_inFence && character == '#' && head.Length < 6,
            _ => false,
        };
    }

    private void DecideHead(StringBuilder shown, char next)
    {
        _isLineStart = false;
        string head = _head.ToString(), mark = head.TrimStart(' ');
        string indent = head[..(head.Length - mark.Length)];
        _head.Clear();
        if (mark.StartsWith("```", StringComparison.Ordinal))
        {
            _inFence = !_inFence;
            shown.Append(Reset).Append(Dim).Append(indent).Append(_inFence ? "── " + mark[3..].Trim() : "──").Append(Reset).Append(_inFence ? CodeColour : "");
            return;
        }
        shown.Append(indent);
        if (_inFence || mark.Length == 0)
            shown.Append(mark);
        else if (mark[0] == '#' && next == ' ')
        {
            _isHeading = true;
            shown.Append(HeadingStyle).Append(mark).ToString();
        }
        else if (mark is "-" or "*" or "+" && next == ' ')
            shown.Append('•');
        else if (mark == ">")
            shown.Append(Dim).Append('│').Append(Reset);
        else
            foreach (char character in mark)
                Inline(character, shown);
    }

    private void EndLine(StringBuilder shown)
    {
        Flush(shown, next: ' ');
        if (_isHeading || _isBold || _isItalic || _isCode)
            shown.Append(Reset);
        (_isHeading, _isBold, _isItalic, _isCode, _isLineStart, _last) = (false, false, false, false, true, '\n');
        shown.Append('\n');
    }

    private void Inline(char character, StringBuilder shown)
    {
        if (character is '*' or '_' && !_isCode && (_marks.Length == 0 || (_marks[0] == character && _marks.Length < 3)))
        {
            _marks += character;
            return;
        }
        Flush(shown, character);
        if (character == '`')
        {
            _isCode = !_isCode;
            Restyle(shown);
        }
        else
            shown.Append(character);
        _last = character;
    }

    // Marks open before a letter and close after one; an underscore inside a word is one.
    private void Flush(StringBuilder shown, char next)
    {
        if (_marks.Length == 0)
            return;
        (string marks, _marks) = (_marks, "");
        bool mayOpen = !char.IsWhiteSpace(next), mayClose = !char.IsWhiteSpace(_last);
        if (marks[0] == '_')
            (mayOpen, mayClose) = (mayOpen && !char.IsLetterOrDigit(_last), mayClose && !char.IsLetterOrDigit(next));
        bool bold = marks.Length >= 2, italic = marks.Length != 2;
        bool changes = (!bold || (_isBold ? mayClose : mayOpen)) && (!italic || (_isItalic ? mayClose : mayOpen));
        if (!changes)
        {
            shown.Append(marks);
            _last = marks[0];
            return;
        }
        (_isBold, _isItalic) = (_isBold ^ bold, _isItalic ^ italic);
        Restyle(shown);
    }

    private void Restyle(StringBuilder shown) =>
        shown.Append(Reset).Append(_isHeading || _isBold ? HeadingStyle : "").Append(_isItalic ? "\e[3m" : "").Append(_isCode ? CodeColour : "");
}
