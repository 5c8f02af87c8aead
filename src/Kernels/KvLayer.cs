namespace TpServe.Kernels;

/// <summary>One layer's paged keys and values of this rank's KV heads.</summary>
/// <remarks>
/// Shapes   Keys, Values: [blocks · kvHeads · blockTokens, headDim], row index (block · kvHeads + head) · blockTokens + position in block.
/// A slot is block · blockTokens + position in block; a sequence's token at position p lies in block blockTable[p / blockTokens].
/// </remarks>
/// <param name="Keys">After RoPE.</param>
/// <param name="Values">As projected.</param>
/// <param name="Heads">KV heads on this rank.</param>
/// <param name="BlockTokens">Tokens a block holds.</param>
public sealed record KvLayer(Tensor Keys, Tensor Values, int Heads, int BlockTokens);
