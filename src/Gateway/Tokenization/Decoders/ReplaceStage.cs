using TpServe.Gateway.Tokenization.Normalizers;

namespace TpServe.Gateway.Tokenization.Decoders;

/// <summary>Replaces within every token.</summary>
internal sealed class ReplaceStage(INormalizer replace) : WholeTokenStage
{
    protected override void AcceptToken(string token) => Next.Accept(replace.Normalize(token), endsToken: true);
}
