using TpServe.Tokenization.Normalizers;

namespace TpServe.Tokenization.Decoders;

/// <summary>What a tokenizer without a decoder does: tokens with a space between.</summary>
internal sealed class JoinStage : WholeTokenStage
{
    private bool _any;

    protected override void AcceptToken(string token)
    {
        Next.Accept(_any ? " " + token : token, endsToken: true);
        _any = true;
    }
}

/// <summary>All tokens become one.</summary>
internal sealed class FuseStage : DecoderStage
{
    public override void Accept(string text, bool endsToken) => Next.Accept(text, endsToken: false);

    public override void Finish()
    {
        Next.Accept("", endsToken: true);
        Next.Finish();
    }
}

/// <summary>Replaces within every token.</summary>
internal sealed class ReplaceStage(INormalizer replace) : WholeTokenStage
{
    protected override void AcceptToken(string token) => Next.Accept(replace.Normalize(token), endsToken: true);
}

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

/// <summary>Marks become spaces; those of the first token go where the encoder prepends one.</summary>
internal sealed class MetaspaceStage(char mark, bool dropsFirst) : WholeTokenStage
{
    private bool _any;

    protected override void AcceptToken(string token)
    {
        Next.Accept(!_any && dropsFirst ? token.Replace(mark.ToString(), "", StringComparison.Ordinal) : token.Replace(mark, ' '), endsToken: true);
        _any = true;
    }
}

/// <summary>Words with spaces between, their continuations without; with cleanup, English punctuation closes up within each token.</summary>
internal sealed class WordPieceStage(string prefix, bool cleanup) : WholeTokenStage
{
    private bool _any;

    protected override void AcceptToken(string token)
    {
        string text = !_any ? token : token.StartsWith(prefix, StringComparison.Ordinal) ? token[prefix.Length..] : " " + token;
        _any = true;
        Next.Accept(cleanup ? CleanUp(text) : text, endsToken: true);
    }

    private static string CleanUp(string text) => text
        .Replace(" .", ".", StringComparison.Ordinal)
        .Replace(" ?", "?", StringComparison.Ordinal)
        .Replace(" !", "!", StringComparison.Ordinal)
        .Replace(" ,", ",", StringComparison.Ordinal)
        .Replace(" ' ", "'", StringComparison.Ordinal)
        .Replace(" n't", "n't", StringComparison.Ordinal)
        .Replace(" 'm", "'m", StringComparison.Ordinal)
        .Replace(" do not", " don't", StringComparison.Ordinal)
        .Replace(" 's", "'s", StringComparison.Ordinal)
        .Replace(" 've", "'ve", StringComparison.Ordinal)
        .Replace(" 're", "'re", StringComparison.Ordinal);
}

/// <summary>The BPEDecoder: a word's end mark becomes a space, and nothing in the last token, so one token is always withheld.</summary>
internal sealed class BpeSuffixStage(string suffix) : WholeTokenStage
{
    private string? _last;

    public override void Finish()
    {
        Give("");
        Next.Finish();
    }

    protected override void AcceptToken(string token)
    {
        Give(" ");
        _last = token;
    }

    private void Give(string replacement)
    {
        if (_last is not null)
            Next.Accept(suffix.Length == 0 ? _last : _last.Replace(suffix, replacement, StringComparison.Ordinal), endsToken: true);
        _last = null;
    }
}
