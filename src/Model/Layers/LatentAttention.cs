using TpServe.Checkpoint.Config;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Adapters;

namespace TpServe.Model.Layers;

/// <summary>Multi-head latent attention in absorbed form: queries are brought into the latent space, where one cached row is key and value of all heads.</summary>
/// <remarks>
/// 1. The latent row c of a token: [norm(Wa · x) | rotated key], which is all that the cache holds of it.
/// 2. A query q of a head is [Wk_hᵀ · plain | rotated]: plain · (Wk_h · c) = (Wk_hᵀ · plain) · c.
/// 3. Attention of all heads over the one row, whose first KvRank elements are the value; then Wv_h, and the output projection.
/// The same form in prefill and decode, so that no bit depends on the step.
/// Shapes   x [n, hidden]; q [n, localHeads · QueryDim], plain parts of all heads first, then rotated ones; in latent space [n, localHeads · RowDim];
///          seen [n, localHeads · KvRank]; heads [n, localHeads · ValueDim]. Latent rows are the same on every rank.
/// Traffic  one SumTree of n · hidden in the output projection.
/// Numerics products as the formats have them; a head is a leaf of the output projection, so that degree and split change no bit.
/// Source   DeepSeek-AI 2024 (DeepSeek-V2), §2.1 and appendix C.
/// Oracle   plain loops without absorption in the tests; transformers' goldens.
/// </remarks>
/// <param name="latent">Widths.</param>
/// <param name="parts">This rank's projections; null where it has no heads.</param>
/// <param name="rotary">Of the rotated parts.</param>
/// <param name="shape">One KV head of RowDim elements.</param>
/// <param name="outputProj">Closes the half-block.</param>
/// <param name="ops">The rank's device.</param>
public sealed class LatentAttention(LatentConfig latent, LatentProjections? parts, RotaryEmbedding rotary, AttentionShape shape, RowParallelLinear outputProj, ITensorBackend ops) : IAttention
{
    private readonly int _heads = shape.KvHeadOfHead.Count;

    /// <inheritdoc/>
    /// <remarks>Adapters on its projections are refused when they are loaded.</remarks>
    public void Forward(Tensor x, StepContext step, KvLayer? cache, ISumConsumer consumer, LoraOfLayer lora)
    {
        if (cache is null || parts is null) // a rank beyond the number of query heads: it still takes part in the sums
        {
            outputProj.Forward(x, consumer);
            return;
        }

        Tensor row = parts.Row.Forward(x);
        parts.RowNorm.InPlace(row.ColumnSlice(0, latent.KvRank));
        rotary.Forward(row.ColumnSlice(latent.KvRank, latent.RopeDim), step.RotaryRows);
        ops.StoreKv(row, row, step.Tensors.Slots, cache);

        Tensor seen = ops.Rent(x.Rows, _heads * latent.KvRank);
        ops.Attention(Queries(x, step), cache, step.Tensors, shape, seen);
        Tensor heads = ops.Rent(x.Rows, _heads * latent.ValueDim);
        for (int head = 0; head < _heads; head++)
            ops.Linear(seen.ColumnSlice(head * latent.KvRank, latent.KvRank), parts.Values.AsSpan(head, 1), heads.ColumnSlice(head * latent.ValueDim, latent.ValueDim));
        outputProj.Forward(heads, consumer); // SumTree in outputProj
    }

    /// <summary>Queries in latent space.</summary>
    private Tensor Queries(Tensor x, StepContext step)
    {
        Tensor source = x;
        if (parts!.QueryDown is { } down)
        {
            source = down.Forward(x);
            parts.QueryNorm!.InPlace(source);
        }
        Tensor q = parts.Query.Forward(source), queries = ops.Rent(x.Rows, _heads * latent.RowDim);
        int rotated = _heads * latent.PlainDim;
        rotary.Forward(q.ColumnSlice(rotated, _heads * latent.RopeDim), step.RotaryRows);
        for (int head = 0; head < _heads; head++)
        {
            Tensor query = queries.ColumnSlice(head * latent.RowDim, latent.RowDim);
            ops.Linear(q.ColumnSlice(head * latent.PlainDim, latent.PlainDim), parts.Keys.AsSpan(head, 1), query.ColumnSlice(0, latent.KvRank));
            ops.Copy(q.ColumnSlice(rotated + (head * latent.RopeDim), latent.RopeDim), query.ColumnSlice(latent.KvRank, latent.RopeDim));
        }
        return queries;
    }
}

/// <summary>The matrices of latent attention on one rank.</summary>
/// <param name="QueryDown">x to the row that queries are made of, whole on every rank; null = queries are made of x.</param>
/// <param name="QueryNorm">On that row.</param>
/// <param name="Query">To this rank's queries: plain parts of all heads, then rotated ones.</param>
/// <param name="Row">x to the latent row and the rotated key, whole on every rank.</param>
/// <param name="RowNorm">On the latent row.</param>
/// <param name="Keys">For each head Wkᵀ [KvRank, PlainDim].</param>
/// <param name="Values">For each head Wv [ValueDim, KvRank].</param>
public sealed record LatentProjections(ColumnParallelLinear? QueryDown, RmsNorm? QueryNorm, ColumnParallelLinear Query, ColumnParallelLinear Row, RmsNorm RowNorm, PackedWeight[] Keys, PackedWeight[] Values);
