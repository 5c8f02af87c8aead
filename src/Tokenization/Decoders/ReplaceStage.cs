using TpServe.Tokenization.Normalizers;

namespace TpServe.Tokenization.Decoders;

/// <summary>Replaces within every token.</summary>
internal sealed class ReplaceStage(INormalizer replace) : WholeTokenStage
{
    protected override void AcceptToken(string token) => Next.Accept(replace.Normalize(token), endsToken: true);
}
