using System.Text;

namespace TpServe.Tokenization.Decoders;

/// <summary>The end of a chain: collects the text.</summary>
internal sealed class SinkStage(StringBuilder sink) : DecoderStage
{
    public override void Accept(string text, bool endsToken) => sink.Append(text);

    public override void Finish()
    {
    }
}
