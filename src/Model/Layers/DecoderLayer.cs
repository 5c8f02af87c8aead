using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>One block: x ← x + s · norm(Attention(norm(x))); x ← x + s · norm(Mlp(norm(x))), each norm only where the family has it.</summary>
/// <remarks>
/// Norms before each half are Llama's (pre-norm), after each half OLMo 2's (post-norm), both Gemma 2's and 3's (sandwich).
/// Shapes   x [n, hidden] in place, the same on every rank before and after.
/// Traffic  two SumTree of n · hidden, inside the RowParallelLinear that closes each half.
/// Source   Touvron et al. 2023, §2.2; Team OLMo 2024, §3.2; Gemma Team 2024, §2.
/// </remarks>
public sealed class DecoderLayer(HalfBlockNorms attentionNorms, Attention attention, HalfBlockNorms mlpNorms, GatedMlp mlp, float residualScale, ITensorBackend ops)
{
    /// <summary>Runs the block on the residual stream. Every rank of the group calls it.</summary>
    public void Forward(Tensor x, StepContext step, KvLayer? cache)
    {
        long mark = ops.Mark();
        Tensor y = attention.Forward(attentionNorms.Input?.Forward(x) ?? x, step, cache);
        attentionNorms.Output?.InPlace(y);
        ops.AddScaled(x, y, residualScale);
        ops.Release(mark);

        y = mlp.Forward(mlpNorms.Input?.Forward(x) ?? x);
        mlpNorms.Output?.InPlace(y);
        ops.AddScaled(x, y, residualScale);
        ops.Release(mark);
    }
}
