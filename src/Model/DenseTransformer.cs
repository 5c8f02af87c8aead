using TpServe.Checkpoint.Config;
using TpServe.Kernels;
using TpServe.Model.Layers;
using TpServe.Model.Weights;

namespace TpServe.Model;

/// <summary>One rank's part of a decoder-only transformer: embedding, blocks, final norm, head.</summary>
/// <remarks>
/// Only enqueues operations: nothing computed is read on the host. Scratch is given back after every half-block, so it does not grow with depth.
/// Shapes   hidden states [n, hidden], the same bits on every rank, at every degree and in every batch.
/// Threads  the rank's thread; every rank of the group makes the same calls in the same order.
/// </remarks>
/// <param name="config">Sizes.</param>
/// <param name="embedding">Token ids to the residual stream.</param>
/// <param name="layers">The blocks in order.</param>
/// <param name="finalNorm">On the residual stream after the last block.</param>
/// <param name="head">Hidden states to this rank's logits.</param>
/// <param name="limits">Longest sequence and largest step.</param>
/// <param name="ops">The rank's device.</param>
/// <param name="weights">Device memory of the weights and tables; disposed with the model.</param>
public sealed class DenseTransformer(
    ModelConfig config, VocabParallelEmbedding embedding, IReadOnlyList<DecoderLayer> layers, IRowNorm finalNorm, ParallelLmHead head, ModelLimits limits,
    ITensorBackend ops, HeldWeights weights) : IDisposable
{
    private HeldWeights? _weights = weights;

    /// <summary>Architecture and sizes.</summary>
    public ModelConfig Config => config;

    /// <summary>Longest sequence and largest step.</summary>
    public ModelLimits Limits => limits;

    /// <summary>Vocabulary rows on this rank.</summary>
    public int LocalVocab => head.LocalVocab;

    /// <summary>Device bytes of the packed weights.</summary>
    public long WeightBytes => _weights?.Bytes ?? 0;

    /// <summary>Bytes of the checkpoint that were read to load it.</summary>
    public long ReadBytes => _weights?.ReadBytes ?? 0;

    /// <summary>The hidden states after the final norm, [n, hidden], in scratch memory of the caller's mark.</summary>
    public Tensor Forward(StepContext step)
    {
        ArgumentNullException.ThrowIfNull(step);
        step.Trace?.Begin("embedding");
        Tensor x = embedding.Forward(step.Tensors.TokenIds);
        Tensor normed = ops.Rent(x.Rows, x.Columns); // the stream as the next half-block reads it
        layers[0].InputNorm?.Into(x, normed);
        for (int i = 0; i < layers.Count; i++)
            layers[i].Forward(x, normed, step, i, next: i + 1 < layers.Count ? layers[i + 1].InputNorm : finalNorm);
        return normed;
    }

    /// <summary>This rank's logits [m, localVocab] of hidden states [m, hidden] after the final norm.</summary>
    public Tensor Logits(Tensor hidden) => head.Forward(hidden);

    /// <summary>Ends the model and hands its weights to the next one of the same checkpoint and device.</summary>
    public HeldWeights TakeWeights()
    {
        HeldWeights taken = _weights ?? throw new ObjectDisposedException(nameof(DenseTransformer));
        _weights = null;
        return taken;
    }

    /// <summary>Frees the weights.</summary>
    public void Dispose()
    {
        _weights?.Dispose();
        _weights = null;
    }
}
