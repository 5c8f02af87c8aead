namespace TpServe.Kernels;

/// <summary>What attention of one layer needs to know beside its tensors.</summary>
/// <param name="HeadDim">Elements of a head.</param>
/// <param name="KvHeadOfHead">For each query head of this rank, the index of its KV head on this rank.</param>
/// <param name="Scale">Factor on the scores: 1/√headDim unless the family says otherwise.</param>
/// <param name="Softcap">scores ← cap · tanh(scores / cap); 0 = none. Gemma 2.</param>
/// <param name="Window">A token sees itself and Window − 1 tokens before it; 0 = all.</param>
public sealed record AttentionShape(int HeadDim, IReadOnlyList<int> KvHeadOfHead, float Scale, float Softcap, int Window);
