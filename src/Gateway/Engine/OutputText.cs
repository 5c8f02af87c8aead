using TpServe.Gateway.Requests;
using TpServe.Tokenization;

namespace TpServe.Gateway.Engine;

/// <summary>Tokens of one output to the text that may be given away, and the stop string if one has come.</summary>
/// <remarks>Threads  one caller at a time.</remarks>
internal sealed class OutputText
{
    private const int PrimingTokens = 16; // more than any character or leading space can reach back

    private readonly StreamingDetokenizer _detokenizer;
    private readonly StopStringMatcher _stops;
    private readonly int _minTokens;
    private readonly bool _includeStop;
    private readonly IReadOnlyDictionary<int, string> _hidden; // stop strings that the detokenizer leaves out, by token
    private int _tokens;

    public OutputText(Tokenizer tokenizer, ValidatedRequest request)
    {
        // The output goes on with the prompt: a leading space belongs to it, and a character may have begun in the prompt.
        int[] before = [.. request.PromptTokens.Skip(request.PromptTokens.Count - PrimingTokens)];
        _detokenizer = new StreamingDetokenizer(tokenizer, request.SkipSpecialTokens, before, request.KeptSpecialTokens);
        _stops = new StopStringMatcher(request.Stopping.StopStrings, request.Stopping.IncludeStop);
        _minTokens = request.Stopping.MinTokens;
        _includeStop = request.Stopping.IncludeStop;
        _hidden = request.SkipSpecialTokens ? request.Stopping.StopStringOfToken : new Dictionary<int, string>();
    }

    /// <summary>The stop string that has come; null = none.</summary>
    public string? Stopped => _stops.Matched;

    /// <summary>Text after one more token that does not end the output by itself.</summary>
    public string Push(int token)
    {
        _tokens++;
        return Visible(_detokenizer.Push(token));
    }

    /// <summary>The rest of the text after an end token, which is part of it only where the request says so.</summary>
    public string End(int endToken)
    {
        _tokens++;
        if (!_includeStop)
            return End();
        string rest = Visible(_detokenizer.Push(endToken)) + End();
        return _hidden.TryGetValue(endToken, out string? stop) ? rest + stop : rest;
    }

    /// <summary>The rest of the text.</summary>
    public string End() => Visible(_detokenizer.Flush()) + _stops.Flush();

    // Text made before min_tokens goes out unmatched. Where nothing was matched yet, nothing is held back either.
    private string Visible(string text) => _tokens < _minTokens ? text : _stops.Push(text);
}
