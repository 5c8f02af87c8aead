using System.Text;

namespace TpServe.Tokenization.Decoders;

/// <summary>SentencePiece's way with byte pieces: they are bytes of the text, valid or not, each character given out when complete.</summary>
internal sealed class BytePiecesStage : WholeTokenStage
{
    private readonly Utf8Decoding _text = new();

    public override void Finish()
    {
        Next.Accept(_text.Flush(), endsToken: true);
        Next.Finish();
    }

    protected override void AcceptToken(string token) =>
        Next.Accept(_text.Push(BytePiece.TryParse(token, out byte value) ? [value] : Encoding.UTF8.GetBytes(token)), endsToken: false);
}
