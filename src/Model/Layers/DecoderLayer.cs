using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Adapters;

namespace TpServe.Model.Layers;

/// <summary>One block: x ← x + s · norm(Attention(norm(x))); x ← x + s · norm(Mlp(norm(x))), each norm only where the family has it.</summary>
/// <remarks>
/// Norms before each half are Llama's (pre-norm), after each half OLMo 2's (post-norm), both Gemma 2's and 3's (sandwich). The sum that closes a half
/// and the norm that opens the next are one operation, so a block computes the norm of the one after it; it takes the rows of the half's canonical sum
/// as they are finished. In a parallel block both halves read the stream as the block found it: x ← x + s · Attention(norm(x)) + s · Mlp(norm'(x)), added in this order;
/// without a norm of its own the MLP reads attention's.
/// Shapes   x, normed [n, hidden] in place, the same on every rank before and after; normed is norm(x) where the half begins with a norm.
/// Traffic  two SumTree of n · hidden, inside the RowParallelLinear that closes each half.
/// Source   Touvron et al. 2023, §2.2; Team OLMo 2024, §3.2; Gemma Team 2024, §2; parallel: Wang and Komatsuzaki 2021 (GPT-J).
/// </remarks>
public sealed class DecoderLayer(HalfBlockNorms attentionNorms, IAttention attention, HalfBlockNorms mlpNorms, IMlp mlp, float residualScale, ITensorBackend ops, bool isParallel = false)
{
    private readonly HalfBlockEnd _attentionEnd = new(attentionNorms.Output, residualScale, ops), _mlpEnd = new(mlpNorms.Output, residualScale, ops);

    /// <summary>The norm that opens the block; null = none.</summary>
    public IRowNorm? InputNorm => attentionNorms.Input;

    /// <summary>Runs the block on the residual stream. Every rank of the group calls it.</summary>
    /// <param name="x">The residual stream.</param>
    /// <param name="normed">InputNorm(x) before, next(x) after.</param>
    /// <param name="step">What all layers share.</param>
    /// <param name="layer">Which block it is.</param>
    /// <param name="next">The norm that opens what follows; null = none.</param>
    public void Forward(Tensor x, Tensor normed, StepContext step, int layer, IRowNorm? next)
    {
        LoraOfLayer lora = new(step.Lora, layer);
        if (isParallel)
        {
            ForwardInParallel(x, normed, step, layer, next, lora);
            return;
        }
        long mark = ops.Mark();
        step.Trace?.Begin("attention", layer);
        _attentionEnd.Begin(x, normed, mlpNorms.Input);
        attention.Forward(InputNorm is null ? x : normed, step, step.Cache.Layer(layer), _attentionEnd, lora);
        ops.Release(mark);

        step.Trace?.Begin("mlp", layer);
        _mlpEnd.Begin(x, normed, next);
        mlp.Forward(mlpNorms.Input is null ? x : normed, _mlpEnd, lora);
        ops.Release(mark);
    }

    private void ForwardInParallel(Tensor x, Tensor normed, StepContext step, int layer, IRowNorm? next, LoraOfLayer lora)
    {
        long all = ops.Mark();
        step.Trace?.Begin("attention", layer);
        Tensor mlpInput = normed;
        if (mlpNorms.Input is { } own)
        {
            mlpInput = ops.Rent(x.Rows, x.Columns);
            own.Into(x, mlpInput); // before attention is added to x
        }
        long mark = ops.Mark();
        _attentionEnd.Begin(x, normed, next: null);
        attention.Forward(normed, step, step.Cache.Layer(layer), _attentionEnd, lora);
        ops.Release(mark);

        step.Trace?.Begin("mlp", layer);
        _mlpEnd.Begin(x, normed, next);
        mlp.Forward(mlpInput, _mlpEnd, lora);
        ops.Release(all);
    }
}

/// <summary>What closes one half of a block and opens the next, row by row: x ← x + s · output(y), normed ← next(x).</summary>
/// <remarks>x and normed are read as the half's input until its sum begins, so rows may change from then on.</remarks>
internal sealed class HalfBlockEnd(IRowNorm? output, float residualScale, ITensorBackend ops) : ISumConsumer
{
    private Tensor _x, _normed;
    private IRowNorm? _next;

    /// <summary>Says what the coming sum is added to.</summary>
    public void Begin(Tensor x, Tensor normed, IRowNorm? next) => (_x, _normed, _next) = (x, normed, next);

    /// <inheritdoc/>
    public void Take(Tensor sums, int first)
    {
        Tensor x = _x.RowSlice(first, sums.Rows);
        output?.InPlace(sums);
        if (_next is null)
            ops.AddScaled(x, sums, residualScale);
        else
            _next.AfterAdding(x, sums, residualScale, _normed.RowSlice(first, sums.Rows));
    }
}

/// <summary>The norms around one half of a block; null = none there.</summary>
/// <param name="Input">Before the half.</param>
/// <param name="Output">On the half's output, before it is added to the stream.</param>
public sealed record HalfBlockNorms(IRowNorm? Input, IRowNorm? Output);
