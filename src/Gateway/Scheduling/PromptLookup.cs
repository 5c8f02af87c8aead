namespace TpServe.Gateway.Scheduling;

/// <summary>Guesses the next tokens of a sequence: what followed its last few tokens when they stood in its log before.</summary>
/// <remarks>
/// Guesses cost rows and change no token, so they are made while they pay: their length follows what was right last, and where little is they rest
/// for a stretch of tokens that doubles as long as they stay wrong.
/// Source   Saxena 2023, prompt lookup decoding.
/// Threads  one caller at a time.
/// </remarks>
/// <param name="tokens">The log, which grows.</param>
/// <param name="most">Most tokens guessed at once.</param>
internal sealed class PromptLookup(List<int> tokens, int most)
{
    private const int Key = 3; // tokens that must have stood before as they stand now
    private const int FirstLength = 4;
    private const int FirstRest = 16, LongestRest = 1024;
    private const double Memory = 0.75, LeastRight = 0.5;

    private readonly Dictionary<(int, int, int), int> _next = []; // three tokens → position after the last time they stood together
    private readonly List<int> _guess = [];
    private int _indexed = Key;
    private int _length = Math.Min(FirstLength, most);
    private double _right = 1; // guesses right in a step, a moving mean
    private int _rest = FirstRest, _restsUntil;

    /// <summary>No guesses for now: they were wrong too often.</summary>
    public bool Rests => tokens.Count < _restsUntil;

    /// <summary>Up to so many guesses at the tokens after the log; none where nothing like its end stood before, or guesses rest. Valid until the next call.</summary>
    public ReadOnlySpan<int> Guess(int limit)
    {
        _guess.Clear();
        // The last token's own key is not entered: it would find itself.
        for (; _indexed < tokens.Count; _indexed++)
            _next[(tokens[_indexed - 3], tokens[_indexed - 2], tokens[_indexed - 1])] = _indexed;
        if (Rests || tokens.Count < Key || !_next.TryGetValue((tokens[^3], tokens[^2], tokens[^1]), out int from))
            return [];
        int count = Math.Min(limit, _length);
        for (int i = 0; i < count; i++) // beyond the log's end it goes on with the guesses: a short cycle repeats
            _guess.Add(from + i < tokens.Count ? tokens[from + i] : _guess[from + i - tokens.Count]);
        return System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_guess);
    }

    /// <summary>So many of the guesses were right.</summary>
    public void Learn(int guessed, int right)
    {
        _right = Memory * _right + (1 - Memory) * right;
        _length = right == guessed ? Math.Min(2 * _length, most) : Math.Max(1, Math.Min(right + 1, most));
        if (right > 1)
            _rest = FirstRest;
        if (_right >= LeastRight)
            return;
        _restsUntil = tokens.Count + _rest;
        _rest = Math.Min(2 * _rest, LongestRest);
        _right = 1;
        _length = Math.Min(FirstLength, most);
    }
}
