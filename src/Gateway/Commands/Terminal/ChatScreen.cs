namespace TpServe.Gateway.Commands.Terminal;

/// <summary>Where a conversation is written and read: a terminal key by key, or, where input or output is none, lines.</summary>
/// <param name="terminal">Null = lines.</param>
/// <param name="history">What was written before.</param>
/// <param name="isStyled">Whether emphasis and colour may be used.</param>
/// <param name="cancellation">Ends waiting for a message.</param>
/// <remarks>Threads  one reads keys at a time: the prompt, or <see cref="Watch"/> between two prompts.</remarks>
internal sealed class ChatScreen(RawTerminal? terminal, InputHistory history, bool isStyled, CancellationToken cancellation)
{
    private const int LookMilliseconds = 100; // how soon an end from elsewhere is seen
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
        terminal.Begin();
        return Edit();
    }

    /// <summary>Looks at keys while an answer is shown: Ctrl-C stops it, what else is typed waits for the next prompt. Null where there is no terminal.</summary>
    /// <param name="stop">Stops the answer.</param>
    public IDisposable? Watch(Action stop) => terminal is null ? null : new KeyWatch(this, stop);

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
                        isAsked = editor.Text.Length == 0;
                        if (isAsked)
                            Tell("Ctrl-C again, or Ctrl-D, ends.");
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
            int read = RawTerminal.Read(buffer, LookMilliseconds);
            if (read == 0 || cancellation.IsCancellationRequested)
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

    private sealed class KeyWatch : IDisposable
    {
        private readonly Thread _thread;
        private volatile bool _isOver;

        public KeyWatch(ChatScreen screen, Action stop)
        {
            _thread = new Thread(() =>
            {
                byte[] buffer = new byte[4096];
                while (!_isOver && RawTerminal.Read(buffer, LookMilliseconds) is var read and not 0)
                    foreach (Key key in read < 0 ? [] : screen._keys.Read(buffer.AsSpan(0, read)))
                        if (key.Kind == KeyKind.Interrupt)
                            stop();
                        else
                            screen._ahead.Enqueue(key);
            })
            { IsBackground = true, Name = "keys" };
            _thread.Start();
        }

        public void Dispose()
        {
            _isOver = true;
            _thread.Join();
        }
    }
}
