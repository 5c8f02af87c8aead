namespace TpServe.Tokenization.Decoders;

/// <summary>Removes up to so many of a character from the start and the end of every token.</summary>
internal sealed class StripStage(char stripped, int start, int stop) : DecoderStage
{
    private int _removed;
    private bool _started;
    private int _held; // characters withheld since the token may end with them

    public override void Accept(string text, bool endsToken)
    {
        int from = 0;
        while (!_started && from < text.Length)
        {
            _started = _removed == start || text[from] != stripped;
            if (!_started)
            {
                _removed++;
                from++;
            }
        }
        string rest = new string(stripped, _held) + text[from..];
        int tail = 0;
        while (tail < stop && tail < rest.Length && rest[^(tail + 1)] == stripped)
            tail++;
        _held = endsToken ? 0 : tail;
        Next.Accept(rest[..^tail], endsToken);
        if (endsToken)
        {
            _removed = 0;
            _started = false;
        }
    }
}
