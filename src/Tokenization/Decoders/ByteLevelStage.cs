using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Decoders;

/// <summary>Characters of the byte alphabet → bytes → text; all tokens together are one.</summary>
internal sealed class ByteLevelStage : WholeTokenStage
{
    private readonly Utf8Decoding _text = new();

    public override void Finish()
    {
        Next.Accept(_text.Flush(), endsToken: true);
        Next.Finish();
    }

    protected override void AcceptToken(string token) => Next.Accept(_text.Push(ByteAlphabet.Decode(token)), endsToken: false);
}
