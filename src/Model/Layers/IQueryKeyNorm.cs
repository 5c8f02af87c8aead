using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>The normalisation of queries and keys between projection and rotary embedding.</summary>
public interface IQueryKeyNorm
{
    /// <summary>Normalises both in place. Every rank of the group calls it, also one without heads (n × 0 tensors).</summary>
    void Forward(Tensor query, Tensor key);
}
