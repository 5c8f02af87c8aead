namespace TpServe.Grammar.Masks;

/// <summary>What tokens do from a node, as far as that does not depend on the callers of its rule.</summary>
/// <param name="Bits">Tokens that are allowed whoever the callers are.</param>
/// <param name="Returns">Nodes of the trie at which the rule may end with more bytes of a token to come; the caller decides about those.</param>
/// <param name="ReturnsAtOnce">The rule may end before any byte.</param>
/// <param name="Depth">How many frames a token may add.</param>
internal sealed record LocalMask(TokenBits Bits, int[] Returns, bool ReturnsAtOnce, int Depth)
{
    public long Bytes => 96 + Bits.Bytes + Returns.Length * 4L;
}
