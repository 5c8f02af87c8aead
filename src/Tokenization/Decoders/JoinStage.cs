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
