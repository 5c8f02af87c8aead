namespace TpServe.Tokenization.Decoders;

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
