namespace TpServe.Kernels;

/// <summary>One layer's paged keys and values of this rank's KV heads.</summary>
/// <remarks>
/// Shapes   Keys, Values: [blocks · kvHeads · blockTokens, headDim], tile (block, head) from row (block · kvHeads + head) · blockTokens.
/// The blockTokens · headDim elements of one (block, head) lie together; how they are arranged inside is the backend's own (StoreKv writes and
/// Attention reads them), so whole blocks may be copied or moved, parts of them not.
/// A slot is block · blockTokens + position in block; a sequence's token at position p lies in block blockTable[p / blockTokens].
/// </remarks>
/// <param name="Keys">After RoPE.</param>
/// <param name="Values">As projected.</param>
/// <param name="Heads">KV heads on this rank.</param>
/// <param name="BlockTokens">Tokens a block holds.</param>
public sealed record KvLayer(Tensor Keys, Tensor Values, int Heads, int BlockTokens);
