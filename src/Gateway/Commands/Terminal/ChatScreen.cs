namespace TpServe.Gateway.Commands.Terminal;

/// <summary>Where a conversation is written and read: a terminal key by key, or, where input or output is none, lines.</summary>
/// <param name="terminal">Null = lines.</param>
/// <param name="history">What was written before.</param>
/// <param name="isStyled">Whether emphasis and colour may be used.</param>
internal sealed class ChatScreen(RawTerminal? terminal, InputHistory history, bool isStyled)
{
    private const int SettleMilliseconds = 50; // how long after a lone Escape the rest of a sequence may come

    private readonly KeyDecoder _keys = new();
    private readonly Queue<Key> _ahead = [];

    /// <summary>Whether somebody sits before it.</summary>
    public bool IsInteractive => terminal is not null;

    /// <summary>Whether emphasis and colour may be used.</summary>
    public bool IsStyled => isStyled && terminal is not null;

    /// <summary>The next message; null at the end of input, or where it was asked to end.</summary>
    public string? Read()
    {
        if (terminal is null)
        {
            if (!Console.IsInputRedirected)
                Console.Out.Write("> ");
            return Console.In.ReadLine();
        }
        terminal.Edit();
        try
        {
            return Edit();
        }
        finally
        {
            terminal.Watch();
        }
    }

    /// <summary>Text of an answer.</summary>
    public static void Write(string text) => Console.Out.Write(text);

    /// <summary>A line beside the conversation; on standard error, so that what is piped on holds answers alone.</summary>
    public void Tell(string text) => Console.Error.WriteLine(IsStyled ? $"\e[2m{text}\e[0m" : text);

    private string? Edit()
    {
        LineEditor editor = new(history.Entries);
        PromptView view = new("> ", IsStyled ? "\e[1m" : "");
        Console.Out.Write(view.Draw("", 0, RawTerminal.Columns()));
        bool isAsked = false;
        while (true)
        {
            if (!Fill())
                return null;
            while (_ahead.TryDequeue(out Key key))
            {
                EditResult result = editor.Apply(key);
                switch (result)
                {
                    case EditResult.Submitted:
                        Show(editor.Text.Length);
                        Console.Out.Write("\r\n");
                        history.Add(editor.Text);
                        return editor.Text;
                    case EditResult.Ended:
                        Console.Out.Write("\r\n");
                        return null;
                    case EditResult.Interrupted when editor.Text.Length == 0 && isAsked:
                        Console.Out.Write("\r\n");
                        return null;
                    case EditResult.Interrupted:
                        Show(editor.Text.Length);
                        Console.Out.Write("\r\n");
                        if (editor.Text.Length == 0)
                            Tell("Ctrl-C again, or Ctrl-D, ends.");
                        isAsked = true;
                        view.Leave();
                        editor = new LineEditor(history.Entries);
                        break;
                    case EditResult.ScreenCleared:
                        Console.Out.Write("\e[H\e[2J");
                        view.Leave();
                        break;
                    default:
                        isAsked = false;
                        break;
                }
            }
            Show(editor.Cursor);
        }

        void Show(int cursor) => Console.Out.Write(view.Draw(editor.Text, cursor, RawTerminal.Columns()));
    }

    // Keys until there is one; false at the end of input.
    private bool Fill()
    {
        byte[] buffer = new byte[4096];
        while (_ahead.Count == 0)
        {
            int read = RawTerminal.Read(buffer, timeout: -1);
            if (read == 0)
                return false;
            if (read < 0)
                continue;
            foreach (Key key in _keys.Read(buffer.AsSpan(0, read)))
                _ahead.Enqueue(key);
            if (_ahead.Count == 0 && RawTerminal.Read(buffer, SettleMilliseconds) is var more)
            {
                if (more == 0)
                    return false;
                if (more < 0)
                    _keys.Settle();
                else
                    foreach (Key key in _keys.Read(buffer.AsSpan(0, more)))
                        _ahead.Enqueue(key);
            }
        }
        return true;
    }
}
