using System.Text;
using TpServe.Tokenization.Decoders;

namespace TpServe.Tokenization;

/// <summary>Token ids one by one → text that is final: all pushes and the flush together are <see cref="Tokenizer.Decode"/> of all ids.</summary>
/// <remarks>
/// Never half a character, and never text that a later token would change: what is not yet certain waits. With a ByteFallback decoder a run of
/// byte tokens waits for its end, since an invalid byte spoils the run's valid characters too.
/// Cost     constant per token, amortised.
/// Threads  one stream, one caller.
/// </remarks>
public sealed class StreamingDetokenizer
{
    private readonly Tokenizer _tokenizer;
    private readonly bool _skipSpecialTokens;
    private readonly IReadOnlySet<int>? _kept;
    private readonly StringBuilder _sink = new();
    private readonly DecoderStage _stream;
    private string _promptRest = ""; // the prompt's text that its tokens alone did not yet make final

    /// <summary>A stream from the beginning of a text.</summary>
    public StreamingDetokenizer(Tokenizer tokenizer, bool skipSpecialTokens)
    {
        _tokenizer = tokenizer;
        _skipSpecialTokens = skipSpecialTokens;
        _stream = tokenizer.BeginDecoding(_sink);
    }

    /// <summary>A stream that continues a prompt: Decode(prompt + pushed) without Decode(prompt), so that a leading space is kept.</summary>
    /// <param name="tokenizer">Whose ids they are.</param>
    /// <param name="skipSpecialTokens">Drops special tokens.</param>
    /// <param name="promptIds">The prompt, or its end.</param>
    /// <param name="kept">Special tokens of the stream that are not dropped all the same; null = none.</param>
    public StreamingDetokenizer(Tokenizer tokenizer, bool skipSpecialTokens, IReadOnlyList<int> promptIds, IReadOnlySet<int>? kept = null)
        : this(tokenizer, skipSpecialTokens)
    {
        foreach (int id in promptIds)
            Accept(id);
        string prompt = tokenizer.Decode(promptIds, skipSpecialTokens);
        _promptRest = prompt[_sink.Length..];
        _sink.Clear();
        _kept = kept;
    }

    /// <summary>Takes the next id; returns the text that is final now, often empty.</summary>
    public string Push(int id)
    {
        Accept(id);
        return Take();
    }

    /// <summary>Ends the stream; returns what waited.</summary>
    public string Flush()
    {
        _stream.Finish();
        return Take();
    }

    private void Accept(int id)
    {
        if (_tokenizer.TextToDecode(id, _skipSpecialTokens && _kept?.Contains(id) != true) is string token)
            _stream.Accept(token, endsToken: true);
    }

    private string Take()
    {
        if (_sink.Length == 0)
            return "";
        string text = _sink.ToString();
        _sink.Clear();
        if (_promptRest.Length == 0)
            return text;

        // What the prompt alone would show at its end, as far as it stayed the same, has been shown with the prompt.
        int same = text.AsSpan().CommonPrefixLength(_promptRest);
        _promptRest = same == text.Length ? _promptRest[same..] : "";
        return text[same..];
    }
}
