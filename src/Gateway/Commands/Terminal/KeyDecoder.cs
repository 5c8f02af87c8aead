using System.Text;

namespace TpServe.Gateway.Commands.Terminal;

/// <summary>What a key does.</summary>
internal enum KeyKind
{
    /// <summary>Text, a character or a whole pasted block.</summary>
    Text,
    Enter, NewLine, Backspace, Delete, Left, Right, WordLeft, WordRight, Up, Down, Home, End,
    DeleteWord, DeleteWordForward, DeleteToStart, DeleteToEnd, Transpose, ClearScreen, Interrupt, EndOfInput, Unknown,
}

/// <summary>A key, or a pasted block.</summary>
/// <param name="Kind">What it does.</param>
/// <param name="Text">Only of Text.</param>
internal readonly record struct Key(KeyKind Kind, string Text = "");

/// <summary>Bytes of a terminal in raw mode → keys, cut anywhere. Pure.</summary>
/// <remarks>Source   ECMA-48 for control sequences; xterm's ctlseqs for modifiers and bracketed paste; the keys are readline's.</remarks>
internal sealed class KeyDecoder
{
    private const string PasteBegin = "\e[200~", PasteEnd = "\e[201~";
    private const int MostPasted = 4 << 20; // characters; a request holds no more

    private readonly Decoder _utf8 = Encoding.UTF8.GetDecoder();
    private readonly StringBuilder _rest = new();
    private StringBuilder? _paste;

    /// <summary>The keys that these bytes complete. What may be the beginning of a sequence is kept for the next bytes.</summary>
    public IReadOnlyList<Key> Read(ReadOnlySpan<byte> bytes)
    {
        Span<char> characters = new char[_utf8.GetCharCount(bytes, flush: false)];
        _utf8.GetChars(bytes, characters, flush: false);
        _rest.Append(characters);
        List<Key> keys = [];
        string text = _rest.ToString();
        int at = 0;
        while (at < text.Length)
        {
            int taken = _paste is null ? ReadKey(text.AsSpan(at), keys) : ReadPaste(text.AsSpan(at), keys);
            if (taken == 0)
                break;
            at += taken;
        }
        _rest.Clear().Append(text.AsSpan(at));
        return keys;
    }

    /// <summary>Nothing more came for a moment: a lone Escape is one.</summary>
    public void Settle()
    {
        if (_paste is null)
            _rest.Clear();
    }

    private int ReadPaste(ReadOnlySpan<char> text, List<Key> keys)
    {
        int end = text.IndexOf(PasteEnd);
        if (end < 0)
        {
            // The end mark may be cut: its first characters wait.
            int safe = text.Length - Math.Min(text.Length, PasteEnd.Length - 1);
            Keep(text[..safe]);
            return safe;
        }
        Keep(text[..end]);
        keys.Add(new Key(KeyKind.Text, Clean(_paste!.ToString())));
        _paste = null;
        return end + PasteEnd.Length;

        void Keep(ReadOnlySpan<char> part) => _paste!.Append(part[..Math.Min(part.Length, Math.Max(0, MostPasted - _paste.Length))]);
    }

    private int ReadKey(ReadOnlySpan<char> text, List<Key> keys)
    {
        char first = text[0];
        if (first == '\e')
            return ReadEscape(text, keys);
        if (first < ' ' || first == '\x7f')
        {
            keys.Add(new Key(Control(first)));
            return 1;
        }
        if (char.IsHighSurrogate(first) && text.Length == 1)
            return 0;
        int length = 0;
        while (length < text.Length && text[length] >= ' ' && text[length] != '\x7f' && !(char.IsHighSurrogate(text[length]) && length == text.Length - 1))
            length++;
        keys.Add(new Key(KeyKind.Text, text[..length].ToString()));
        return length;
    }

    private static KeyKind Control(char key) => key switch
    {
        '\r' => KeyKind.Enter,
        '\n' => KeyKind.NewLine, // Ctrl-J; terminals send it for Ctrl-Enter
        '\x01' => KeyKind.Home,
        '\x02' => KeyKind.Left,
        '\x03' => KeyKind.Interrupt,
        '\x04' => KeyKind.EndOfInput,
        '\x05' => KeyKind.End,
        '\x06' => KeyKind.Right,
        '\b' or '\x7f' => KeyKind.Backspace,
        '\x0b' => KeyKind.DeleteToEnd,
        '\x0c' => KeyKind.ClearScreen,
        '\x0e' => KeyKind.Down,
        '\x10' => KeyKind.Up,
        '\x14' => KeyKind.Transpose,
        '\x15' => KeyKind.DeleteToStart,
        '\x17' => KeyKind.DeleteWord,
        _ => KeyKind.Unknown,
    };

    private int ReadEscape(ReadOnlySpan<char> text, List<Key> keys)
    {
        if (text.Length == 1)
            return 0;
        if (text[1] is '[' or 'O')
        {
            int end = 2;
            while (end < text.Length && text[end] is < '@' or > '~')
                end++;
            if (end == text.Length)
                return text.Length > 32 ? text.Length : 0; // longer than any sequence: dropped
            ReadOnlySpan<char> sequence = text[..(end + 1)];
            if (sequence.SequenceEqual(PasteBegin))
                _paste = new StringBuilder();
            else
                keys.Add(new Key(Named(sequence[2..^1], sequence[^1])));
            return end + 1;
        }
        keys.Add(new Key(text[1] switch
        {
            '\r' or '\n' => KeyKind.NewLine,
            'b' or 'B' => KeyKind.WordLeft,
            'f' or 'F' => KeyKind.WordRight,
            'd' or 'D' => KeyKind.DeleteWordForward,
            '\x7f' or '\b' => KeyKind.DeleteWord,
            _ => KeyKind.Unknown,
        }));
        return 2;
    }

    private static KeyKind Named(ReadOnlySpan<char> parameters, char final)
    {
        bool isModified = parameters.Contains(';'); // Ctrl, Alt or Shift: words instead of characters
        return final switch
        {
            'A' => KeyKind.Up,
            'B' => KeyKind.Down,
            'C' => isModified ? KeyKind.WordRight : KeyKind.Right,
            'D' => isModified ? KeyKind.WordLeft : KeyKind.Left,
            'H' => KeyKind.Home,
            'F' => KeyKind.End,
            'u' when parameters.StartsWith("13;") => KeyKind.NewLine, // Shift-Enter where the terminal tells it
            '~' => (isModified ? parameters[..parameters.IndexOf(';')] : parameters) switch
            {
                "1" or "7" => KeyKind.Home,
                "4" or "8" => KeyKind.End,
                "3" => isModified ? KeyKind.DeleteWordForward : KeyKind.Delete,
                _ => KeyKind.Unknown,
            },
            _ => KeyKind.Unknown,
        };
    }

    // Lines end in one way, tabs stay, everything else that would move the cursor is left out.
    private static string Clean(string pasted) =>
        string.Concat(pasted.ReplaceLineEndings("\n").Where(character => character is '\n' or '\t' || !char.IsControl(character)));
}
