using System.Runtime.InteropServices;
using System.Text;
using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Answers;

/// <summary>Reads an output as a program that waits, in the middle of a mark too, until more text has come.</summary>
/// <remarks>
/// <see cref="Read"/> goes from one character to the next and never sees how the text was cut, so neither does what comes of it. Characters that were
/// passed and are neither given away nor dropped are held: they are syntax until it turns out that they are not.
/// Threads  one caller at a time.
/// </remarks>
internal abstract class StreamedParser : IAnswerParser
{
    private readonly List<char> _given = [];
    private readonly StringBuilder _text = new(), _reasoning = new();
    private readonly List<(ToolCallPiece Piece, StringBuilder Arguments)> _calls = [];
    private IEnumerator<bool>? _program;
    private readonly List<(int From, int To)> _thoughts = [];
    private int _first, _at; // held characters begin; the next character
    private int _gone; // characters before the first of those given
    private bool _ended;

    /// <summary>Whether reasoning is told, or left out.</summary>
    public bool TellsReasoning { get; init; } = true;

    /// <inheritdoc/>
    public AnswerPiece Take(string text)
    {
        _given.AddRange(text);
        return Go();
    }

    /// <inheritdoc/>
    public AnswerPiece End()
    {
        _ended = true;
        return Go();
    }

    /// <inheritdoc/>
    public bool IsThought(int place) => _thoughts.Exists(thought => thought.From <= place && place < thought.To);

    /// <summary>The whole output; yields where <see cref="Waits"/> says so.</summary>
    protected abstract IEnumerable<bool> Read();

    /// <summary>What comes next is not known yet.</summary>
    protected bool Waits => _at == _given.Count && !_ended;

    /// <summary>Nothing comes any more.</summary>
    protected bool IsOver => _at == _given.Count && _ended;

    /// <summary>The next character.</summary>
    protected char Next => _given[_at];

    /// <summary>Whether white space comes next.</summary>
    protected bool AtSpace => _at < _given.Count && char.IsWhiteSpace(_given[_at]);

    /// <summary>What the last <see cref="Match"/> found.</summary>
    protected bool Matched { get; private set; }

    /// <summary>Characters of the output before the next one.</summary>
    protected int Place => _gone + _at;

    /// <summary>How many characters are held.</summary>
    protected int Held => _at - _first;

    /// <summary>Passes the next character.</summary>
    protected void Step() => _at++;

    /// <summary>Passes all that has come.</summary>
    protected void StepAll() => _at = _given.Count;

    /// <summary>Goes back to where so many characters were held.</summary>
    protected void Back(int held) => _at = _first + held;

    /// <summary>The held characters from the given one on.</summary>
    protected string HeldText(int from) => new(CollectionsMarshal.AsSpan(_given)[(_first + from).._at]);

    /// <summary>What is held was syntax.</summary>
    protected void Drop() => _first = _at;

    /// <summary>What is held is text of the answer.</summary>
    protected void ReleaseText() => _text.Append(Taken());

    /// <summary>What is held is reasoning.</summary>
    protected void ReleaseReasoning() => _reasoning.Append(Taken());

    /// <summary>Text of the answer.</summary>
    protected void AddText(string text) => _text.Append(text);

    /// <summary>From one place to another the model has thought; <see cref="int.MaxValue"/> = it never came to an end.</summary>
    protected void AddThought(int from, int to) => _thoughts.Add((from, to));

    /// <summary>A call begins.</summary>
    protected void AddCall(int index, string id, string name) => _calls.Add((new ToolCallPiece(index, id, name, ""), new StringBuilder()));

    /// <summary>The arguments of the last call go on.</summary>
    protected void AddArguments(int index, ReadOnlySpan<char> text)
    {
        if (_calls.Count == 0)
            _calls.Add((new ToolCallPiece(index, null, null, ""), new StringBuilder()));
        _calls[^1].Arguments.Append(text);
    }

    /// <summary>Passes a JSON value, which becomes arguments of a call as it comes; stops where it turns out to be none.</summary>
    protected IEnumerable<bool> JsonArguments(int index)
    {
        JsonScanner json = new();
        while (!json.IsDone)
        {
            while (Waits)
                yield return true;
            if (IsOver || !json.Take(Next))
                yield break;
            AddArguments(index, [Next]);
            Step();
            Drop();
        }
    }

    /// <summary>Passes white space.</summary>
    protected IEnumerable<bool> SkipSpace()
    {
        while (true)
        {
            while (Waits)
                yield return true;
            if (!AtSpace)
                yield break;
            Step();
        }
    }

    /// <summary>Passes a mark; any white space may stand between its words. Where it does not stand here, nothing is passed.</summary>
    protected IEnumerable<bool> Match(Mark mark)
    {
        int held = Held;
        Matched = false;
        for (int word = 0; word < mark.Words.Count; word++)
        {
            if (word > 0)
                foreach (bool wait in SkipSpace())
                    yield return wait;
            foreach (char expected in mark.Words[word])
            {
                while (Waits)
                    yield return true;
                if (IsOver || Next != expected)
                {
                    Back(held);
                    yield break;
                }
                Step();
            }
        }
        Matched = true;
    }

    private ReadOnlySpan<char> Taken()
    {
        ReadOnlySpan<char> held = CollectionsMarshal.AsSpan(_given)[_first.._at];
        _first = _at;
        return held;
    }

    private AnswerPiece Go()
    {
        _program ??= Read().GetEnumerator();
        _program.MoveNext();
        if (!TellsReasoning)
            _reasoning.Clear();
        if (_first > 0)
        {
            _given.RemoveRange(0, _first);
            (_gone, _at, _first) = (_gone + _first, _at - _first, 0);
        }
        if (_text.Length == 0 && _reasoning.Length == 0 && _calls.Count == 0)
            return AnswerPiece.None;
        AnswerPiece piece = new(_text.ToString(), _reasoning.ToString(), [.. _calls.Select(call => call.Piece with { Arguments = call.Arguments.ToString() })]);
        _text.Clear();
        _reasoning.Clear();
        _calls.Clear();
        return piece;
    }
}

/// <summary>A mark of a model's format: words with white space between them, as the model is to write it; read with any white space there and around.</summary>
/// <param name="Written">The whole of it.</param>
internal sealed record Mark(string Written)
{
    /// <summary>What stands between white space.</summary>
    public IReadOnlyList<string> Words { get; } = Written.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);

    /// <summary>There is no such mark.</summary>
    public bool IsEmpty => Words.Count == 0;

    public static implicit operator Mark(string written) => new(written);

    /// <inheritdoc/>
    public override string ToString() => Written;
}
