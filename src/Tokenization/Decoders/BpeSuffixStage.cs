namespace TpServe.Tokenization.Decoders;

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
