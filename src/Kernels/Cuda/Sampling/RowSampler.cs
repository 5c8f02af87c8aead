using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Ops;

namespace TpServe.Kernels.Cuda.Sampling;

/// <summary>The device's sampler: which kernels draw which rows.</summary>
/// <remarks>
/// 1. Edits give whole rows that are the sampler's own.
/// 2. The k best of each are found for all rows at once, whatever the row asks.
/// 3. One kernel draws rows of a small top-k from those, three draw the others from all logits.
/// Every launch is made whatever the rows ask, so that a recorded step serves any mixture; a row that is not a kernel's costs it one empty group.
/// Threads  the rank's thread.
/// </remarks>
internal sealed class RowSampler(CudaQueue queue, ScratchArena scratch, TopKKernels topK) : IRowSampler
{
    private readonly LogitEditKernel _edits = new(queue);
    private readonly CandidateDrawKernel _candidates = new(queue);
    private readonly WholeDrawKernels _whole = new(queue, scratch);
    private readonly LikelihoodKernel _likelihoods = new(queue);

    /// <inheritdoc/>
    public void Draw(Tensor values, Tensor ids, Tensor parameters, Tensor chosen)
    {
        SamplerShapes.OfCandidates(values, ids, parameters, chosen);
        if (chosen.Rows > 0)
            _candidates.Run(values, ids, parameters, chosen);
    }

    /// <inheritdoc/>
    public void DrawWhole(Tensor logits, Tensor edits, Tensor parameters, Tensor chosen)
    {
        SamplerShapes.OfWhole(logits, edits, parameters, chosen);
        if (chosen.Rows == 0)
            return;
        long mark = scratch.Mark();
        const int k = IRowSampler.MostCandidates;
        Tensor adjusted = scratch.Rent(logits.Rows, logits.Columns, ElementType.Float32);
        Tensor values = scratch.Rent(logits.Rows, k, ElementType.Float32), ids = scratch.Rent(logits.Rows, k, ElementType.Int32);
        _edits.Run(logits, edits, parameters, adjusted);
        topK.Run(adjusted, k, firstId: 0, values, ids);
        _candidates.Run(values, ids, parameters, chosen);
        _whole.Run(adjusted, values, ids, parameters, chosen);
        scratch.Release(mark);
    }

    /// <inheritdoc/>
    public void Likelihoods(Tensor logits, Tensor parameters, Tensor chosen, Tensor found)
    {
        SamplerShapes.OfLikelihoods(logits, parameters, chosen, found);
        if (chosen.Rows > 0)
            _likelihoods.Run(logits, parameters, chosen, found);
    }
}
