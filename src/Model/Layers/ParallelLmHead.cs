using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>logits = cap · tanh(x · Wᵀ / (divisor · cap)) for this rank's range of the vocabulary; without a cap x · Wᵀ / divisor.</summary>
/// <remarks>
/// Shapes   x [m, hidden], W [localVocab, hidden] (the embedding's own matrix where the model ties them), logits [m, localVocab] rented.
/// Traffic  none: what of the logits travels is for the sampler to say.
/// </remarks>
public sealed class ParallelLmHead(ColumnParallelLinear head, float divisor, float softcap, ITensorBackend ops)
{
    /// <summary>Vocabulary rows on this rank.</summary>
    public int LocalVocab => head.LocalOutputs;

    /// <summary>This rank's logits; m × 0 where it owns no row of the vocabulary.</summary>
    public Tensor Forward(Tensor x)
    {
        Tensor logits = head.Forward(x);
        if (logits.Columns == 0)
            return logits;
        if (divisor != 1f)
            ops.Scale(logits, 1f / divisor);
        if (softcap != 0f)
            ops.Softcap(logits, softcap);
        return logits;
    }
}
