namespace TpServe.Tokenization.Decoders;

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
