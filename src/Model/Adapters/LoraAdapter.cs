using TpServe.Kernels;

namespace TpServe.Model.Adapters;

/// <summary>The products of a block that adapters change; projections that share their input are one.</summary>
public enum LoraPlace
{
    /// <summary>Query, key and value projection.</summary>
    Qkv,

    /// <summary>Attention output projection.</summary>
    AttentionOutput,

    /// <summary>Gate and up projection.</summary>
    GateUp,

    /// <summary>Down projection.</summary>
    Down,
}

/// <summary>One rank's part of a low-rank adapter, on its device; whoever disposes it frees it.</summary>
/// <remarks>
/// Which places it has is the same on every rank, also where a rank owns nothing of one: all take part in the sums.
/// Source   Hu et al. 2021.
/// </remarks>
public sealed class LoraAdapter : IDisposable
{
    private readonly LoraSite?[,] _sites;
    private readonly List<DeviceBuffer> _owned;

    /// <summary>Takes over its memory.</summary>
    /// <param name="sites">By layer and place; null = not changed.</param>
    /// <param name="owned">What the sites' tensors lie in.</param>
    internal LoraAdapter(LoraSite?[,] sites, List<DeviceBuffer> owned)
    {
        _sites = sites;
        _owned = owned;
    }

    /// <summary>Device bytes.</summary>
    public long Bytes => _owned.Sum(buffer => buffer.Bytes);

    /// <summary>What it does at a place of a layer; null = nothing.</summary>
    public LoraSite? Site(int layer, LoraPlace place) => _sites[layer, (int)place];

    /// <inheritdoc/>
    public void Dispose()
    {
        _owned.ForEach(buffer => buffer.Dispose());
        _owned.Clear();
    }
}

/// <summary>What an adapter does at one place: t = A · x for all its projections at once, then B · t of each.</summary>
/// <param name="Ranks">Rows of A in all: elements of t.</param>
/// <param name="A">[Ranks, in of this rank]; null where the rank owns no input.</param>
/// <param name="Leaves">How A's columns are cut.</param>
/// <param name="Parts">Those projections that it changes; none where the rank owns no output.</param>
public sealed record LoraSite(int Ranks, Tensor? A, InputLeaves? Leaves, IReadOnlyList<LoraPart> Parts);

/// <summary>One projection of a site.</summary>
/// <param name="FirstRank">First of its elements of t.</param>
/// <param name="B">[r, outputs of this rank]: B transposed, so that outputs lie side by side.</param>
/// <param name="FirstOutput">Where its outputs begin among the place's.</param>
/// <param name="Scale">What the product is multiplied by.</param>
public sealed record LoraPart(int FirstRank, Tensor B, int FirstOutput, float Scale);
