namespace TpServe.Tokenization.Decoders;

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
