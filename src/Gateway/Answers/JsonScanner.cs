using System.Text;
using System.Text.RegularExpressions;

namespace TpServe.Gateway.Answers;

/// <summary>Reads one JSON object, array or string as its characters come, and says where the members of an outermost object stand.</summary>
/// <remarks>
/// Strict: what it takes to its end is JSON. Depth and the lengths of numbers and outermost names are bounded.
/// Source   RFC 8259.
/// </remarks>
internal sealed partial class JsonScanner
{
    private const int MostDepth = 128, MostScalar = 512, MostKey = 512;

    private static readonly string[] s_words = ["true", "false", "null"];

    private readonly Stack<bool> _open = []; // true = an object
    private readonly StringBuilder _token = new(); // of an outermost name, a number or a word
    private State _state = State.Value;
    private bool _isKey, _valueOver;
    private int _hexLeft;

    private enum State
    {
        Value, // or the end of an array that has begun
        NextValue,
        Key, // or the end of an object that has begun
        NextKey,
        Colon,
        AfterValue,
        Text,
        Escape,
        Hex,
        Scalar,
        Done,
    }

    /// <summary>The value is whole.</summary>
    public bool IsDone => _state == State.Done;

    /// <summary>Of an outermost object, the name of the member that is being read, as it is spelt; null before the first.</summary>
    public string? Key { get; private set; }

    /// <summary>The last character taken belongs to the value of that member.</summary>
    public bool InValue { get; private set; }

    /// <summary>The last character taken ended the value of that member; of a number or word, the character before did.</summary>
    public bool ValueIsOver { get; private set; }

    /// <summary>Takes a character. False = it cannot follow.</summary>
    public bool Take(char next)
    {
        if (_valueOver)
            InValue = _valueOver = false;
        ValueIsOver = false;
        if (_state == State.Scalar)
        {
            if (char.IsAsciiLetterOrDigit(next) || next is '+' or '-' or '.')
            {
                _token.Append(next);
                return _token.Length <= MostScalar && MayBeScalar();
            }
            if (!Scalar().IsMatch(_token.ToString()))
                return false;
            if (_open.Count == 1)
                (InValue, ValueIsOver) = (false, _open.Peek());
            _state = State.AfterValue;
        }
        switch (_state)
        {
            case State.Text:
                return TakeText(next);
            case State.Escape:
                _state = next == 'u' ? State.Hex : State.Text;
                _hexLeft = 4;
                return next is '"' or '\\' or '/' or 'b' or 'f' or 'n' or 'r' or 't' or 'u' && Remember(next);
            case State.Hex:
                if (--_hexLeft == 0)
                    _state = State.Text;
                return char.IsAsciiHexDigit(next) && Remember(next);
        }
        if (next is ' ' or '\t' or '\n' or '\r')
            return _open.Count > 0 && _state != State.Done;
        return _state switch
        {
            State.Value when next == ']' => Close(isObject: false),
            State.Value or State.NextValue => Begin(next),
            State.Key when next == '}' => Close(isObject: true),
            State.Key or State.NextKey => next == '"' && BeginKey(),
            State.Colon => next == ':' && Become(State.NextValue),
            State.AfterValue when next == ',' => Become(_open.Peek() ? State.NextKey : State.NextValue),
            State.AfterValue => next is '}' or ']' && Close(next == '}'),
            _ => false,
        };
    }

    private bool TakeText(char next)
    {
        if (next == '"')
        {
            if (_isKey)
            {
                if (_open.Count == 1)
                    Key = _token.ToString();
                _isKey = false;
                return Become(State.Colon);
            }
            return EndValue();
        }
        if (next == '\\')
            _state = State.Escape;
        return next >= ' ' && Remember(next);
    }

    private bool Remember(char next)
    {
        if (_isKey && _open.Count == 1)
            _token.Append(next);
        return _token.Length <= Math.Max(MostKey, MostScalar);
    }

    private bool BeginKey()
    {
        _isKey = true;
        _token.Clear();
        return Become(State.Text);
    }

    private bool Begin(char next)
    {
        if (_open is { Count: 1 } && _open.Peek())
            InValue = true;
        switch (next)
        {
            case '{' or '[':
                if (_open.Count == MostDepth)
                    return false;
                _open.Push(next == '{');
                return Become(next == '{' ? State.Key : State.Value);
            case '"':
                return Become(State.Text);
            default:
                if (_open.Count == 0 || !(char.IsAsciiLetterLower(next) || char.IsAsciiDigit(next) || next == '-'))
                    return false;
                _token.Clear().Append(next);
                return MayBeScalar() && Become(State.Scalar);
        }
    }

    private bool Close(bool isObject) => _open.Count > 0 && _open.Pop() == isObject && EndValue();

    private bool EndValue()
    {
        if (_open.Count == 1 && _open.Peek())
            ValueIsOver = _valueOver = true;
        return Become(_open.Count == 0 ? State.Done : State.AfterValue);
    }

    // Words are told from anything else at once, numbers where they end.
    private bool MayBeScalar() => !char.IsAsciiLetter(_token[0]) || Array.Exists(s_words, word => word.StartsWith(_token.ToString(), StringComparison.Ordinal));

    private bool Become(State state)
    {
        _state = state;
        return true;
    }

    [GeneratedRegex(@"\A(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\z", RegexOptions.CultureInvariant)]
    private static partial Regex Scalar();
}
